"""Whom a limit counts: addresses, behind a proxy or not; and nginx's own limits in front."""

import http.client
import json
import socket
import threading

import pytest
from harness.limits import SLOW, assert_limited, left, limited, records, send
from harness.waiting import free_port, wait_until

ADDRESSES = [f"$sluice_client zone=addresses:64k {SLOW}"], ["zone=addresses burst=3"]
TRUSTED = ("    server_tokens off;", "    server_tokens off; set_real_ip_from 127.0.0.1; "
                                     "real_ip_header X-Forwarded-For;")
LISTEN = "backlog=4096;"
BODY = json.dumps(records(1)).encode()


def status_from(port, source, to="127.0.0.1", **headers):
    connection = http.client.HTTPConnection(to, port, timeout=10, source_address=(source, 0))
    connection.request("POST", "/api/logs/batch", BODY, {"Content-Type": "application/json",
                                                         **headers})
    status = connection.getresponse().status
    connection.close()
    return status


def passes(port, source, times=5, **options):
    return [status_from(port, source, **options) for _ in range(times)].count(200)


def test_an_address_is_a_client(make_edge):
    stack = make_edge(*limited(*ADDRESSES))
    assert passes(stack.nginx.port, "127.0.0.1") == 3
    assert passes(stack.nginx.port, "127.0.0.2") == 3
    assert passes(stack.nginx.port, "127.0.0.2") == 0


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv4_on_a_socket_of_ipv6_is_not_one_network(make_edge):
    port = free_port()
    stack = make_edge((LISTEN, f"{LISTEN}\n        listen [::]:{port} ipv6only=off;"),
                      *limited(*ADDRESSES))
    assert passes(port, "127.0.0.1") == 3
    assert passes(port, "127.0.0.2") == 3
    assert passes(stack.nginx.port, "127.0.0.1") == 0, "the same address"
    assert passes(port, "::1", to="::1") == 3


def forwarded(api, *addresses):
    return [send(api, records(1), **{"X-Forwarded-For": address}).status for address in addresses]


def test_ipv6_goes_by_its_network(make_edge):
    stack = make_edge(TRUSTED, *limited(*ADDRESSES))
    api = stack.api()
    assert forwarded(api, "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:1::3",
                     "2001:db8:0:1::4", "2001:db8:0:2::1") == [200, 200, 200, 429, 200]
    assert forwarded(api, *["192.0.2.1"] * 4, "192.0.2.2") == [200, 200, 200, 429, 200]
    # without the header it is the proxy
    assert left(api) == 3


def test_whom_nobody_trusts_changes_nothing_by_a_header(make_edge):
    stack = make_edge(*limited(*ADDRESSES))
    spoofed = [f"192.0.2.{i}" for i in range(5)]
    assert forwarded(stack.api(), *spoofed) == [200, 200, 200, 429, 429]


def test_only_the_proxy_is_trusted(make_edge):
    stack = make_edge(TRUSTED, *limited(*ADDRESSES))
    port = stack.nginx.port
    statuses = [status_from(port, "127.0.0.9", **{"X-Forwarded-For": f"192.0.2.{i}"})
                for i in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    # of what a client wrote before the proxy did nothing is believed
    assert forwarded(stack.api(), *(f"198.51.100.{i}, 192.0.2.7" for i in range(5))) == [
        200, 200, 200, 429, 429]


def test_proxy_protocol(make_edge):
    port = free_port()
    stack = make_edge(
        (LISTEN, f"{LISTEN}\n        listen 127.0.0.1:{port} proxy_protocol;"),
        ("    server_tokens off;", "    server_tokens off; set_real_ip_from 127.0.0.1; "
                                   "real_ip_header proxy_protocol;"),
        *limited(*ADDRESSES))
    request = (b"POST /api/logs/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
               b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY))

    def status(line):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(line + b"\r\n" + request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return response.status

    for line in (b"PROXY TCP4 192.0.2.1 192.0.2.9 1 2", b"PROXY TCP4 192.0.2.2 192.0.2.9 1 2",
                 b"PROXY TCP6 2001:db8::1 2001:db8::9 1 2"):
        assert [status(line) for _ in range(4)] == [200, 200, 200, 429], line
    assert status(b"PROXY TCP6 2001:db8::2 2001:db8::9 1 2") == 429
    assert left(stack.api()) == 3


def test_any_variables_make_a_key(make_edge):
    stack = make_edge(*limited([f"$http_x_client$http_x_tenant zone=both:64k {SLOW}"],
                               ["zone=both burst=2"]))
    api = stack.api()

    def tenant(name):
        return [send(api, records(1), "a", **{"X-Tenant": name}).status for _ in range(3)]

    assert tenant("x") == tenant("y") == [200, 200, 429]
    assert tenant("z" * 7000) == [200, 200, 429]


def test_a_principal_is_a_key(make_edge):
    stack = make_edge(("sluice_principal $remote_addr;", "sluice_principal $http_authorization;"),
                      *limited([f"$http_authorization zone=principals:64k {SLOW}"],
                               ["zone=principals burst=2"]))
    api = stack.api()
    for who in ("Basic YTph", "Basic Yjpi"):
        statuses = [send(api, records(1), Authorization=who).status for _ in range(3)]
        assert statuses == [200, 200, 429]


def test_limit_req_and_limit_conn_in_front(make_edge):
    stack = make_edge(
        ("    server_tokens off;", """    server_tokens off;
    limit_req_zone $http_x_client zone=requests:1m rate=1r/m;
    limit_conn_zone $http_x_place zone=connections:1m;
    limit_req_status 429;"""),
        *limited([f"$http_x_client zone=senders:64k {SLOW}"], ["zone=senders burst=30"],
                 "limit_req zone=requests burst=2 nodelay", "limit_conn connections 1"))
    api = stack.api()
    statuses = [send(api, records(5)).status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    # what nginx refused itself is not charged
    assert [send(api, records(15), "b").status for _ in range(2)] == [200, 200]
    assert_limited(send(api, records(1), "b"), "senders")

    # one that waits for Redis takes the only connection of its place
    release = threading.Event()
    store = stack.scripted.store
    stack.scripted.on_xadd = lambda frame: release.wait(10) and store(frame)
    first = stack.api()
    answers = []
    waiter = threading.Thread(
        target=lambda: answers.append(send(first, records(1), "c", **{"X-Place": "here"})))
    waiter.start()
    wait_until(lambda: len(stack.scripted.frames) == 6, 5, "it waits for Redis")
    assert send(api, records(1), "d", **{"X-Place": "here"}).status == 503
    release.set()
    waiter.join()
    assert answers[0].status == 200
