{{- if not (has .Subject.CommonName (list "entrance" "iot-bridge-api" "thingsboard")) }}{{ fail "no certificate for this name" }}{{ end -}}
{
  "subject": {{ toJson .Subject }},
  "sans": {{ toJson .SANs }},
  "keyUsage": ["digitalSignature"],
  "extKeyUsage": ["serverAuth"],
  "basicConstraints": {"isCA": false}
}
