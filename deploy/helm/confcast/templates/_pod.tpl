{{/* The pods, whichever kind they are of. */}}
{{- define "confcast.pod" -}}
{{- $v := .Values -}}
{{- $etcd := ne $v.mode "direct" -}}
{{- $source := ne $v.mode "mirror" -}}
{{- $xds := and $source (not $v.files.configMap) -}}
{{- $scheme := ternary ", scheme: HTTPS" "" (not (empty $v.admin.tlsSecret)) -}}
metadata:
  labels:
    {{- include "confcast.selector" . | nindent 4 }}
    {{- if $v.istio.enabled }}
    # A sidecar in front of it would count as the client of every stream.
    sidecar.istio.io/inject: "false"
    {{- end }}
    {{- with $v.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Some settings need a restart, and a file that is mounted by itself is not updated.
    checksum/settings: {{ include "confcast.settings" . | sha256sum }}
    {{- with $v.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "confcast.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $v.terminationGracePeriodSeconds }}
  {{- with $v.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $v.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $v.topologySpread }}
  topologySpreadConstraints:
    {{- range $v.topologySpread }}
    - labelSelector:
        matchLabels:
          {{- include "confcast.selector" $ | nindent 10 }}
      {{- toYaml . | nindent 6 }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- toYaml $v.podSecurityContext | nindent 4 }}
  containers:
    - name: confcast
      image: {{ include "confcast.image" . }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args: ["serve", "--config", "/etc/confcast/confcast.toml"]
      env:
        - { name: CONFCAST_LOG, value: {{ $v.logLevel | quote }} }
        - { name: CONFCAST_LOG_FORMAT, value: json }
        {{- if eq $v.mode "publisher" }}
        - name: CONFCAST_PUBLISH_NAME
          valueFrom: { fieldRef: { fieldPath: metadata.name } }
        {{- end }}
        {{- if and $xds (not $v.xds.nodeId) }}
        - name: POD_IP
          valueFrom: { fieldRef: { fieldPath: status.podIP } }
        - name: POD_NAME
          valueFrom: { fieldRef: { fieldPath: metadata.name } }
        - name: CONFCAST_XDS_NODE_ID
          value: router~$(POD_IP)~$(POD_NAME).{{ .Release.Namespace }}~{{ .Release.Namespace }}.svc.{{ $v.clusterDomain }}
        {{- end }}
        {{- with $v.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - { name: etcd, containerPort: 2379 }
        - { name: admin, containerPort: 9379 }
      startupProbe:
        httpGet: { path: /livez, port: admin{{ $scheme }} }
        periodSeconds: 2
        failureThreshold: 30
      livenessProbe:
        httpGet: { path: /livez, port: admin{{ $scheme }} }
        periodSeconds: 10
        timeoutSeconds: 3
      readinessProbe:
        httpGet: { path: /readyz, port: admin{{ $scheme }} }
        periodSeconds: 5
        timeoutSeconds: 3
      {{- if $v.preStopSeconds }}
      lifecycle:
        preStop:
          sleep: { seconds: {{ $v.preStopSeconds }} }
      {{- end }}
      resources:
        {{- toYaml $v.resources | nindent 8 }}
      securityContext:
        {{- toYaml $v.securityContext | nindent 8 }}
      volumeMounts:
        - { name: settings, mountPath: /etc/confcast/confcast.toml, subPath: confcast.toml, readOnly: true }
        {{- if include "confcast.persistent" . }}
        - { name: data, mountPath: /var/lib/confcast }
        {{- end }}
        {{- if and $etcd $v.etcd.tls.secret }}
        - { name: etcd-tls, mountPath: /etc/confcast/etcd, readOnly: true }
        {{- end }}
        {{- if and $etcd $v.etcd.auth.user }}
        - { name: etcd-user, mountPath: /etc/confcast/etcd-user, readOnly: true }
        {{- end }}
        {{- if and $source $v.files.configMap }}
        - { name: resources, mountPath: /etc/confcast/resources, readOnly: true }
        {{- end }}
        {{- if and $xds $v.istio.enabled }}
        - { name: istio-token, mountPath: /var/run/secrets/tokens, readOnly: true }
        - { name: istio-ca, mountPath: /var/run/secrets/istio, readOnly: true }
        {{- end }}
        {{- if and $xds $v.xds.tls.secret }}
        - { name: xds-tls, mountPath: /etc/confcast/xds, readOnly: true }
        {{- end }}
        {{- if $v.tls.secret }}
        - { name: tls, mountPath: /etc/confcast/tls, readOnly: true }
        {{- end }}
        {{- if $v.tls.clientCaSecret }}
        - { name: client-ca, mountPath: /etc/confcast/client-ca, readOnly: true }
        {{- end }}
        {{- if $v.admin.tlsSecret }}
        - { name: admin-tls, mountPath: /etc/confcast/admin-tls, readOnly: true }
        {{- end }}
        {{- if $v.admin.clientCaSecret }}
        - { name: admin-client-ca, mountPath: /etc/confcast/admin-client-ca, readOnly: true }
        {{- end }}
        {{- if $v.admin.tokenSecret }}
        - { name: admin-token, mountPath: /etc/confcast/admin-token, readOnly: true }
        {{- end }}
        {{- with $v.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: settings
      configMap: { name: {{ include "confcast.fullname" . }} }
    {{- if and $etcd $v.etcd.tls.secret }}
    - name: etcd-tls
      secret: { secretName: {{ $v.etcd.tls.secret }} }
    {{- end }}
    {{- if and $etcd $v.etcd.auth.user }}
    - name: etcd-user
      secret: { secretName: {{ $v.etcd.auth.secret }} }
    {{- end }}
    {{- if and $source $v.files.configMap }}
    - name: resources
      configMap: { name: {{ $v.files.configMap }} }
    {{- end }}
    {{- if and $xds $v.istio.enabled }}
    - name: istio-token
      projected:
        sources:
          - serviceAccountToken: { path: istio-token, audience: {{ $v.istio.tokenAudience }}, expirationSeconds: 43200 }
    - name: istio-ca
      configMap: { name: {{ $v.istio.caConfigMap }} }
    {{- end }}
    {{- if and $xds $v.xds.tls.secret }}
    - name: xds-tls
      secret: { secretName: {{ $v.xds.tls.secret }} }
    {{- end }}
    {{- if $v.tls.secret }}
    - name: tls
      secret: { secretName: {{ $v.tls.secret }} }
    {{- end }}
    {{- if $v.tls.clientCaSecret }}
    - name: client-ca
      secret: { secretName: {{ $v.tls.clientCaSecret }} }
    {{- end }}
    {{- if $v.admin.tlsSecret }}
    - name: admin-tls
      secret: { secretName: {{ $v.admin.tlsSecret }} }
    {{- end }}
    {{- if $v.admin.clientCaSecret }}
    - name: admin-client-ca
      secret: { secretName: {{ $v.admin.clientCaSecret }} }
    {{- end }}
    {{- if $v.admin.tokenSecret }}
    - name: admin-token
      secret: { secretName: {{ $v.admin.tokenSecret }} }
    {{- end }}
    {{- with $v.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
