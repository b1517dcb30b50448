{{- define "confcast.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "confcast.selector" -}}
app.kubernetes.io/name: confcast
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "confcast.labels" -}}
{{ include "confcast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "confcast.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "confcast.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "confcast.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* "true" with a volume for each pod. */}}
{{- define "confcast.persistent" -}}
{{- $enabled := toString .Values.persistence.enabled -}}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") (eq .Values.mode "direct")) -}}true{{- end -}}
{{- end -}}

{{/* A volume belongs to one pod, and mode direct must never have two pods, so both need a StatefulSet. */}}
{{- define "confcast.kind" -}}
{{- if or (eq .Values.mode "direct") (include "confcast.persistent" .) -}}StatefulSet{{- else -}}Deployment{{- end -}}
{{- end -}}

{{/* "true" if there may be several pods. */}}
{{- define "confcast.several" -}}
{{- if ne .Values.mode "direct" -}}true{{- end -}}
{{- end -}}

{{/* Values that cannot go together. */}}
{{- define "confcast.check" -}}
{{- $source := or .Values.istio.enabled .Values.xds.servers .Values.files.configMap -}}
{{- if and (ne .Values.mode "mirror") (not $source) -}}
{{- fail (printf "mode %s needs istio.enabled, xds.servers or files.configMap" .Values.mode) -}}
{{- end -}}
{{- if and (ne .Values.mode "direct") (not .Values.etcd.endpoints) -}}
{{- fail (printf "mode %s needs etcd.endpoints" .Values.mode) -}}
{{- end -}}
{{- if and .Values.files.configMap (or .Values.istio.enabled .Values.xds.servers) -}}
{{- fail "files.configMap is instead of istio.enabled and xds.servers" -}}
{{- end -}}
{{- if and .Values.etcd.auth.user (not .Values.etcd.auth.secret) -}}
{{- fail "etcd.auth.user needs etcd.auth.secret" -}}
{{- end -}}
{{- if and .Values.tls.clientCaSecret (not .Values.tls.secret) -}}
{{- fail "tls.clientCaSecret needs tls.secret" -}}
{{- end -}}
{{- if and .Values.admin.clientCaSecret (not .Values.admin.tlsSecret) -}}
{{- fail "admin.clientCaSecret needs admin.tlsSecret" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.admin.tlsSecret (not .Values.serviceMonitor.tlsConfig) -}}
{{- fail "serviceMonitor.tlsConfig is needed with admin.tlsSecret, such as { insecureSkipVerify: true }" -}}
{{- end -}}
{{- if le (int .Values.terminationGracePeriodSeconds) (add .Values.preStopSeconds .Values.settings.drain_seconds | int) -}}
{{- fail "terminationGracePeriodSeconds must be more than preStopSeconds and settings.drain_seconds together" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not .Values.autoscaling.streams) (not .Values.autoscaling.cpu) -}}
{{- fail "autoscaling needs autoscaling.streams or autoscaling.cpu" -}}
{{- end -}}
{{- $pods := int (ternary .Values.autoscaling.minReplicas .Values.replicas .Values.autoscaling.enabled) -}}
{{- $keep := toString .Values.podDisruptionBudget.minAvailable -}}
{{- if and (include "confcast.several" .) .Values.podDisruptionBudget.enabled (not (hasSuffix "%" $keep)) (ge (int $keep) $pods) -}}
{{- fail (printf "podDisruptionBudget.minAvailable %s of %d pods: no node could be drained" $keep $pods) -}}
{{- end -}}
{{- end -}}

{{/* A value in TOML. Whole numbers come from YAML as fractions, so toToml is of no use. */}}
{{- define "confcast.toml" -}}
{{- if kindIs "map" . -}}
{ {{ range $i, $key := keys . | sortAlpha }}{{ if $i }}, {{ end }}{{ toJson $key }} = {{ include "confcast.toml" (get $ $key) }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{ range $i, $item := . }}{{ if $i }}, {{ end }}{{ include "confcast.toml" $item }}{{ end }}]
{{- else if kindIs "string" . -}}
{{ toJson . }}
{{- else if kindIs "float64" . -}}
{{ if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}
