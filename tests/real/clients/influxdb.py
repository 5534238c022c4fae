"""InfluxDB's own client (influxdb-client) against the stand-in of the tests: every call that the bridge makes.

    influxdb.py URL TOKEN ORGANIZATION BUCKET
"""

import sys

from influxdb_client import Authorization, InfluxDBClient, Permission, PermissionResource


def main(url, token, organization, bucket):
    with InfluxDBClient(url=url, token=token, org=organization) as client:
        org = client.organizations_api().find_organizations(org=organization)[0]
        assert org.name == organization
        found = client.buckets_api().find_bucket_by_name(bucket)
        assert found is None or found.name == bucket
        api = client.authorizations_api()
        resource = PermissionResource(type="buckets", id="0b0b0b0b0b0b0b0b", org_id=org.id)
        order = Authorization(
            org_id=org.id, description="from python", permissions=[Permission(action="write", resource=resource)]
        )
        made = api.create_authorization(authorization=order)
        assert made.token and made.status == "active", made
        held = api.find_authorization_by_id(made.id)
        assert [permission.action for permission in held.permissions] == ["write"], held
        assert made.id in [it.id for it in api.find_authorizations(org_id=org.id)]
        api.delete_authorization(made)
        assert made.id not in [it.id for it in api.find_authorizations(org_id=org.id)]
    print("every answer was read")


main(*sys.argv[1:])
