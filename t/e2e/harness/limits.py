"""Limits in a configuration, and what is sent against them."""

HTTP = "    sluice_zone sluice:512k;"
BATCH = "            sluice batch;"

# So slow that nothing comes back while a test runs: what passes can be counted.
SLOW = "rate=1r/m"


def limited(zones, limits, *more):
    """Edits of nginx.conf: zones in http{}, and limits, instead of the shipped one, in the location
    of batches; more is any other directive there."""
    return [
        (HTTP, "\n".join([HTTP, *(f"    sluice_limit_zone {zone};" for zone in zones)])),
        (BATCH, "\n".join([BATCH, *(f"            sluice_limit {limit};" for limit in limits),
                           *(f"            {directive};" for directive in more)])),
    ]


def records(n, device="d"):
    return of_devices([device] * n)


def of_devices(devices):
    return [{"device_id": device, "log_level": "INFO", "message": "m"} for device in devices]


def send(api, batch, client="a", **headers):
    """As a client of that name, to whom limits by $http_x_client go."""
    return api.post("/api/logs/batch", batch, **{"X-Client": client}, **headers)


def lenient(api, batch, client="a", **headers):
    return send(api, batch, client, Prefer="handling=lenient", **headers)


def left(api, client="a", device="d", most=100):
    """How many more records pass, one by one; they are used up."""
    for passed in range(most):
        if send(api, records(1, device), client).status != 200:
            return passed
    return most


def assert_limited(answer, limit, code="rate_limited", status=429):
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json
    assert (told["status"], told["code"], told["limit"]) == (status, code, limit)
    return told
