"""Addresses: one spelling for each path, and the path in front, as far as it is known and believed."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from streamvis.errors import UsageError
from streamvis.page.web.authorization import checked_origin
from streamvis.page.web.paths import Mount, to_root, view_path, view_route

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


def request(uri, peer="127.0.0.1", **headers):
    context = type("Context", (), {"remote_ip": peer, "protocol": "http"})
    connection = type("Connection", (), {"context": context})
    fields = HTTPHeaders({name.replace("_", "-"): value for name, value in headers.items()} | {"Host": "h"})
    return HTTPServerRequest(start_line=RequestStartLine("GET", uri, "HTTP/1.1"), headers=fields, connection=connection)


@given(NAMES, st.sampled_from(["", "!*'()", "+&=,@:", "%"]))
def test_a_page_is_found_under_every_spelling_of_its_name(name, left):
    for spelled in (view_path(name), f"/view/{quote(name, safe='')}", f"/view/{quote(name, safe=left.replace('%', ''))}"):
        assert re.fullmatch(view_route(name), Mount().inner(spelled))
    raw = "/view/" + name.encode().decode("latin-1")  # as a program sends it that encodes nothing
    if "%" not in name:
        assert re.fullmatch(view_route(name), Mount().inner(raw))


@given(NAMES, NAMES)
def test_a_page_is_not_found_under_another_name(one, other):
    matches = re.fullmatch(view_route(one), Mount().inner(view_path(other))) is not None
    assert matches == (view_path(one) == view_path(other))


def test_a_name_is_the_same_however_its_letters_are_composed_and_bytes_that_are_no_text_are_kept():
    assert view_path("Ampe\u0300re") == view_path("Amp\u00e8re")
    name = b"run\xff.v1".decode("utf-8", "surrogateescape")
    assert view_path(name) == "/view/run%FF.v1"
    assert re.fullmatch(view_route(name), Mount().inner("/view/run%FF.v1"))
    assert not re.fullmatch(view_route("a.b"), Mount().inner("/view/axb"))


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_the_way_to_the_root_leads_there_from_any_depth(names):
    path = "/".join(["", *(quote(name, safe="") for name in names if unquote(name) not in (".", ".."))])
    assert urljoin(f"http://h/some/where{path or '/'}", to_root(path or "/") + "static/x.js") == "http://h/some/where/static/x.js"


def test_the_prefix_is_taken_off_where_it_is_there():
    mount = Mount.of("user/me/", [])
    assert [mount.inner(path) for path in ("/user/me/", "/user/me/a", "/a", "/user/meter", "/user/me/user/me/a")] == [
        "/", "/a", "/a", "/user/meter", "/user/me/a"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("prefix", "uri", "told", "outer"),
    [
        ("", "/a", None, ""),
        ("", "/a", "/lab", "/lab"),
        ("", "/a", "/lab/", "/lab"),
        ("/x", "/a", None, "/x"),  # a proxy removed it
        ("/x", "/x/a", None, "/x"),
        ("/x", "/x/a", "/outer", "/outer/x"),
        ("/x", "/x/a", "/x", "/x"),
        ("/x", "/x/a?b=/y", "/outer/x", "/outer/x"),
        ("", "/a", "//evil.example", ""),
        ("", "/a", "/x; Domain=example", ""),
        ("", "/a", "/x, /y", ""),
        ("", "/a", "https://evil.example", ""),
    ],
)
def test_the_path_in_front_is_what_is_configured_and_what_a_trusted_proxy_says(prefix, uri, told, outer):
    headers = {} if told is None else {"X_Forwarded_Prefix": told}
    assert Mount.of(prefix, []).outer(request(uri, **headers)) == outer


@pytest.mark.parametrize(
    ("peer", "trusted", "is_believed"),
    [
        ("127.0.0.1", [], True),
        ("::1", [], True),
        ("::ffff:127.0.0.1", [], True),
        ("10.1.2.3", [], False),
        ("10.1.2.3", ["10.1.0.0/16"], True),
        ("::ffff:10.1.2.3", ["10.1.2.3"], True),
        ("10.2.2.3", ["10.1.0.0/16", "fd00::/8"], False),
    ],
)
def test_only_a_proxy_on_this_machine_or_one_that_was_named_is_believed(peer, trusted, is_believed):
    told = request("/a", peer, X_Forwarded_Prefix="/lab", X_Forwarded_Proto="https")
    mount = Mount.of("", trusted)
    assert (mount.outer(told), mount.is_secure(told)) == (("/lab", True) if is_believed else ("", False))


@pytest.mark.parametrize("prefix", ["/a/../b", "a b", "/a?b", "https://h/a", "/a;b"])
def test_a_prefix_that_is_not_a_path_is_refused(prefix):
    with pytest.raises(UsageError, match="--prefix"):
        Mount.of(prefix, [])


def test_options_that_name_no_network_and_no_origin_are_refused():
    with pytest.raises(UsageError, match="--trust-proxy"):
        Mount.of("", ["gpu-box"])
    wrong = "wiki.example.org  https://  https://a/b  https://*.a  *  ftp://a  https://a;x  https://wík.i  https://a,b".split()
    for text in [*wrong, "https://a b", "https://a\n"]:
        with pytest.raises(UsageError, match="--allow-frame"):
            checked_origin(text)
    assert checked_origin("https://Wiki.example.org:8443/") == "https://wiki.example.org:8443"
