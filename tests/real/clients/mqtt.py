"""ThingsBoard's own MQTT client (tb-mqtt-client): reports once, with a certificate.

    mqtt.py HOST PORT CA CERTIFICATE KEY
"""

import sys

from tb_device_mqtt import TBDeviceMqttClient, TBPublishInfo


def main(host, port, ca, certificate, key):
    client = TBDeviceMqttClient(host, int(port))
    client.connect(tls=True, ca_certs=ca, cert_file=certificate, key_file=key, timeout=10)
    outcome = client.send_telemetry({"sw_version": "2"}).get()
    client.disconnect()
    assert outcome == TBPublishInfo.TB_ERR_SUCCESS, outcome
    print("reported")


main(*sys.argv[1:])
