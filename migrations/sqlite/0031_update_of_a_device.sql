-- All that is shown of a device; how far its last update is, besides.
DROP VIEW passport;

CREATE VIEW passport AS
SELECT
    device.id, device.state, device.resume_state, device.group_name, device.device_type, device.display_name,
    device.epoch, device.address, device.wireguard_key, device.reenroll_until, device.created_at,
    device.enrolled_at, device.retired_at, device.last_connected_at,
    device_live.device_id AS live_device_id, device_live.last_handshake_at, device_live.endpoint,
    device_live.received_bytes, device_live.sent_bytes,
    certificate.id AS certificate_id, certificate.device_id, certificate.state AS certificate_state,
    certificate.csr_der, certificate.key_digest, certificate.serial, certificate.leaf_pem,
    certificate.ca_chain_pem, certificate.intermediates, certificate.not_before, certificate.not_after,
    certificate.created_at AS certificate_created_at,
    (SELECT status FROM update_report
     WHERE update_report.device_id = device.id ORDER BY changed_at DESC, action_id DESC LIMIT 1) AS update_status
FROM device
LEFT JOIN certificate ON certificate.id = device.certificate_id
LEFT JOIN device_live ON device_live.device_id = device.id;
