{{/* The settings file. */}}
{{- define "confcast.settings" -}}
{{- $v := .Values -}}
{{- $name := include "confcast.fullname" . -}}
{{- $scheme := ternary "https" "http" (not (empty $v.tls.secret)) -}}
{{- $s := dict "listen" "0.0.0.0:2379" "admin_listen" "0.0.0.0:9379" -}}
{{- $_ := set $s "client_url" (printf "%s://%s.%s.svc:%d" $scheme $name .Release.Namespace (int $v.service.port)) -}}
{{- if include "confcast.persistent" . -}}
{{- $_ := set $s "data_dir" "/var/lib/confcast" -}}
{{- end -}}
{{- if ne $v.mode "direct" -}}
{{- $_ := set $s "upstream" $v.etcd.endpoints -}}
{{- if $v.etcd.tls.secret -}}
{{- $_ := set $s "upstream_ca" "/etc/confcast/etcd/ca.crt" -}}
{{- if $v.etcd.tls.clientCertificate -}}
{{- $_ := set $s "upstream_cert" "/etc/confcast/etcd/tls.crt" -}}
{{- $_ := set $s "upstream_key" "/etc/confcast/etcd/tls.key" -}}
{{- end -}}
{{- end -}}
{{- if $v.etcd.auth.user -}}
{{- $_ := set $s "upstream_user" $v.etcd.auth.user -}}
{{- $_ := set $s "upstream_password_file" (printf "/etc/confcast/etcd-user/%s" $v.etcd.auth.key) -}}
{{- end -}}
{{- end -}}
{{- if eq $v.mode "publisher" -}}
{{- $_ := set $s "publish" true -}}
{{- end -}}
{{- if eq $v.mode "mirror" -}}
{{- $_ := set $s "source" "etcd" -}}
{{- else if $v.files.configMap -}}
{{- $_ := set $s "source" "xds-file" -}}
{{- $_ := set $s "xds_file" (list "/etc/confcast/resources") -}}
{{- else -}}
{{- $_ := set $s "source" "xds" -}}
{{- $_ := set $s "xds_server" ($v.xds.servers | default (list $v.istio.server)) -}}
{{- if $v.xds.nodeId -}}{{- $_ := set $s "xds_node_id" $v.xds.nodeId -}}{{- end -}}
{{- if $v.xds.nodeCluster -}}{{- $_ := set $s "xds_node_cluster" $v.xds.nodeCluster -}}{{- end -}}
{{- $metadata := deepCopy $v.xds.nodeMetadata -}}
{{- if $v.istio.enabled -}}
{{- $_ := set $s "xds_ca" "/var/run/secrets/istio/root-cert.pem" -}}
{{- $_ := set $s "xds_token_file" "/var/run/secrets/tokens/istio-token" -}}
{{- $account := include "confcast.serviceAccount" . -}}
{{- $istio := dict "NAMESPACE" .Release.Namespace "SERVICE_ACCOUNT" $account "CLUSTER_ID" $v.istio.clusterId -}}
{{- $_ := set $istio "LABELS" $v.istio.gatewayLabels -}}
{{- $metadata = mergeOverwrite $istio $metadata -}}
{{- end -}}
{{- if $metadata -}}{{- $_ := set $s "xds_node_metadata" $metadata -}}{{- end -}}
{{- if $v.xds.tls.secret -}}
{{- $_ := set $s "xds_ca" "/etc/confcast/xds/ca.crt" -}}
{{- if $v.xds.tls.clientCertificate -}}
{{- $_ := set $s "xds_cert" "/etc/confcast/xds/tls.crt" -}}
{{- $_ := set $s "xds_key" "/etc/confcast/xds/tls.key" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $v.tls.secret -}}
{{- $_ := set $s "tls_cert" (list "/etc/confcast/tls/tls.crt") -}}
{{- $_ := set $s "tls_key" (list "/etc/confcast/tls/tls.key") -}}
{{- end -}}
{{- if $v.tls.clientCaSecret -}}
{{- $_ := set $s "client_ca" "/etc/confcast/client-ca/ca.crt" -}}
{{- end -}}
{{- if $v.admin.tlsSecret -}}
{{- $_ := set $s "admin_tls_cert" "/etc/confcast/admin-tls/tls.crt" -}}
{{- $_ := set $s "admin_tls_key" "/etc/confcast/admin-tls/tls.key" -}}
{{- end -}}
{{- if $v.admin.clientCaSecret -}}
{{- $_ := set $s "admin_client_ca" "/etc/confcast/admin-client-ca/ca.crt" -}}
{{- end -}}
{{- if $v.admin.tokenSecret -}}
{{- $_ := set $s "admin_token_file" (printf "/etc/confcast/admin-token/%s" $v.admin.tokenKey) -}}
{{- end -}}
{{- $s = mergeOverwrite $s $v.settings -}}
{{- range $key := keys $s | sortAlpha }}
{{ $key }} = {{ include "confcast.toml" (get $s $key) }}
{{- end }}
{{- end -}}
