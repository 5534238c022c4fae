"""ThingsBoard's own client (tb-ce-client) against the stand-in of the tests: every call that the bridge makes, made by
somebody who knows the real answers, and every answer read as strictly as they read it.

    thingsboard.py URL API_KEY USER PASSWORD LEAF
"""

import json
import sys

from tb_ce_client.client import ThingsboardClient
from tb_ce_client.exceptions import ApiException
from tb_ce_client.models.device import Device
from tb_ce_client.models.device_credentials import DeviceCredentials
from tb_ce_client.models.save_device_with_credentials_request import SaveDeviceWithCredentialsRequest


def status_of(call):
    """What a call that has to fail answers."""
    try:
        call()
    except ApiException as error:
        return error.status
    raise AssertionError("it was done")


def devices(client, leaf):
    name = "from-python"
    assert status_of(lambda: client.get_tenant_device_by_name(device_name=name)) == 404
    credentials = DeviceCredentials.model_construct(
        id=None, device_id=None, credentials_type="X509_CERTIFICATE", credentials_id=None, credentials_value=leaf
    )
    order = SaveDeviceWithCredentialsRequest.model_construct(
        device=Device(name=name, type="iot-bridge"), credentials=credentials
    )
    made = client.save_device_with_credentials(order)
    assert made.name == name and made.id.id, made
    assert status_of(lambda: client.save_device_with_credentials(order)) == 400
    found = client.get_tenant_device_by_name(device_name=name)
    assert found.id.id == made.id.id and found.type == "iot-bridge", found
    page = client.get_tenant_devices(page_size=100, page=0, type="iot-bridge", sort_property="name", sort_order="ASC")
    assert [device.name for device in page.data] == [name] and page.has_next is False, page
    return str(made.id.id)


def credentials(client, device):
    held = client.get_device_credentials_by_device_id(device_id=device)
    assert held.credentials_type == "X509_CERTIFICATE", held
    assert len(held.credentials_id) == 64 and "BEGIN" not in held.credentials_value, held
    held.credentials_type, held.credentials_id, held.credentials_value = "ACCESS_TOKEN", "a-random-token", None
    client.update_device_credentials(held)
    assert client.get_device_credentials_by_device_id(device_id=device).credentials_type == "ACCESS_TOKEN"


def facts(client, device):
    scope = "SERVER_SCOPE"
    told = json.dumps({"vpnAddress": "10.8.0.2", "otaAction": 7})
    client.save_entity_attributes_v2("DEVICE", device, scope, told)
    # The client's own model of this answer is a text; what it is, is a list of key, value and time.
    answer = client.get_attributes_by_scope_without_preload_content("DEVICE", device, scope, keys="vpnAddress,otaAction")
    values = {entry["key"]: entry["value"] for entry in json.loads(answer.data)}
    assert values == {"vpnAddress": "10.8.0.2", "otaAction": 7}, values
    points = [{"ts": 1732350000000, "values": {"ota_status": "finished"}}]
    client.save_entity_telemetry("DEVICE", device, "ANY", json.dumps(points))


def main(url, api_key, user, password, leaf):
    with ThingsboardClient(url, api_key=api_key) as client:
        device = devices(client, leaf)
        credentials(client, device)
        facts(client, device)
    with ThingsboardClient(url, user, password) as client:
        assert client.get_user().email == user
        client.delete_device(device_id=device)
        assert status_of(lambda: client.get_tenant_device_by_name(device_name="from-python")) == 404
    assert status_of(lambda: ThingsboardClient(url, api_key="wrong").get_user()) == 401
    print("every answer was read")


main(*sys.argv[1:])
