"""Log lines on their way: a real rsyslog with the configuration of the documentation, and what indexes them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import holter
from metricpages import free_port, poll, serving
from programs import lines as written

PAGE = (Path(__file__).parent.parent / "docs" / "how-to" / "elk.md").read_text(encoding="utf-8")
PLACES = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
MODULES = [Path(folder) / "rsyslog" for folder in ("/usr/lib", *map(str, Path("/usr/lib").glob("*-linux-gnu*")))]

needs_rsyslog = pytest.mark.skipif(
    not (shutil.which("rsyslogd", path=PLACES) and any((one / "omelasticsearch.so").exists() for one in MODULES)),
    reason="rsyslog is missing; install it with: "
    "apt-get install -y --no-install-recommends rsyslog rsyslog-elasticsearch",
)


def shown(title: str) -> str:
    """Return the block of the page that has this title."""
    (body,) = re.findall(rf'^```\w+ title="{re.escape(title)}"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL)
    return str(body)


@contextmanager
def rsyslog(folder: Path, *outputs: tuple[str, str, str], url: str = "http://127.0.0.1:9") -> Iterator[None]:
    """
    Run rsyslog with the page's configuration, its paths in *folder*.

    Each of *outputs* is a file's name, properties that are written into it, and the condition for it.
    """
    text = shown("/etc/rsyslog.d/holter.conf")
    templates, actions = "", ""
    for name, properties, condition in outputs:
        parts = ' constant(value=" ") '.join(f'property(name="{one}")' for one in properties.split())
        templates += f'template(name="{name}" type="list") {{ {parts} constant(value="\\n") }}\n'
        actions += f'if {condition} then {{ action(type="omfile" file="{folder / name}" template="{name}") }}\n'
    for there, here in (
        ("/var/log/sentiment/holter.jsonl", str(folder / "holter.jsonl")),
        ("/var/log/holter-refused.json", str(folder / "refused.json")),
        ("http://127.0.0.1:9200", url),
        ('action.resumeInterval="10"', 'action.resumeInterval="1"'),
        ('global(maxMessageSize="64k")', f'global(maxMessageSize="64k" workDirectory="{folder}")\n{templates}'),
        ('if $parsesuccess == "OK" then {', f'if $parsesuccess == "OK" then {{\n{actions}'),
    ):
        assert text.count(there) == 1, there
        text = text.replace(there, here)
    (folder / "rsyslog.conf").write_text(text, encoding="utf-8")
    # It is there before rsyslog is, which otherwise says that it is not.
    (folder / "holter.jsonl").touch()
    command = [str(shutil.which("rsyslogd", path=PLACES)), "-f", "rsyslog.conf", "-i", str(folder / "rsyslog.pid")]
    judged = subprocess.run([*command, "-N1"], cwd=folder, check=False, capture_output=True, text=True)
    assert judged.returncode == 0, judged.stderr
    with (folder / "rsyslog.log").open("wb") as output:
        process = subprocess.Popen([*command, "-n"], cwd=folder, stdout=output, stderr=output)
    try:
        yield
        assert process.poll() is None, (folder / "rsyslog.log").read_text(encoding="utf-8")
    finally:
        process.terminate()
        process.wait(60)


ALL = ("all", "$!all-json-plain", "1 == 1")


def arrived(path: Path) -> list[dict[str, Any]]:
    """Return the lines that rsyslog has written, without what its reader of files adds."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [{key: value for key, value in json.loads(line).items() if key != "metadata"} for line in lines]


def serve(folder: Path) -> list[dict[str, Any]]:
    """Run the page's service; return the lines of its log."""
    (folder / "service.py").write_text(shown("service.py"), encoding="utf-8")
    # By itself, so that no alert of it fires already.
    environment = {**os.environ, "HOLTER_DIR": str(folder)}
    subprocess.run([sys.executable, "service.py"], cwd=folder, check=True, capture_output=True, env=environment)
    return written(folder / "holter.jsonl")


@needs_rsyslog
def test_rsyslog_finds_every_field(tmp_path: Path) -> None:
    """With the page's configuration: all of a line, its fields one by one, and alerts by a condition."""
    some = ("some", "$!@timestamp $!log.level $!service!name $!holter!metric", "1 == 1")
    warnings = ("warnings", "$!message", '$!log.level == "warn"')
    with rsyslog(tmp_path, ALL, some, warnings):
        lines = serve(tmp_path)
        poll("all lines", lambda: len(arrived(tmp_path / "all")) >= len(lines))
        assert lines == arrived(tmp_path / "all")
        assert (tmp_path / "some").read_text(encoding="utf-8").splitlines() == [
            f"{line['@timestamp']} {line['log.level']} sentiment {line['holter'].get('metric', '')}" for line in lines
        ]
        alerts = [line for line in lines if line["event"]["dataset"] == "holter.alerts"]
        warned = (tmp_path / "warnings").read_text(encoding="utf-8").splitlines()
        assert 1 <= len(alerts) == len(warned)
        assert "predict error ratio is 10 %" in warned[0]


@needs_rsyslog
def test_no_line_is_lost_or_doubled_where_the_file_is_rotated(tmp_path: Path) -> None:
    """By holter itself, while rsyslog reads it."""
    with rsyslog(tmp_path, ALL):
        # Only what is flushed is written, so that nobody reads half a line.
        log = holter.LogFile(tmp_path / "holter.jsonl", every_seconds=60.0, max_bytes=65_536, backups=100)
        with holter.Monitor("rotated", samplers=[], exporters=[log], recording=False).start() as monitor:
            functions = [monitor.watch(lambda: None, name=f"f{number}") for number in range(20)]
            for _ in range(30):
                for function in functions:
                    function()
                assert monitor.flush(60)
                # Files of this size would be rotated twice before it has looked.
                lines = written(tmp_path / "holter.jsonl")
                poll("what was written so far", lambda lines=lines: len(arrived(tmp_path / "all")) >= len(lines))
        lines = written(tmp_path / "holter.jsonl")
        assert len(list(tmp_path.glob("holter.jsonl.*"))) >= 3
        poll("all lines", lambda: len(arrived(tmp_path / "all")) >= len(lines))
        assert sorted(map(json.dumps, lines)) == sorted(map(json.dumps, arrived(tmp_path / "all")))


# The program itself: what the package puts on PATH starts it as a child, which would stay.
STAND_IN = [Path(folder) / "noida-db" for folder in getattr(find_spec("noida_db"), "submodule_search_locations", [])]
needs_elasticsearch = pytest.mark.skipif(
    not STAND_IN, reason="noida-db is missing; install it with: pip install noida-db 'elasticsearch<9'"
)


class Index:
    """Asks what speaks as Elasticsearch 8 does."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, method: str, path: str, body: str | None = None) -> Any:
        """Return the answer to a request."""
        request = urllib.request.Request(  # noqa: S310  our own
            self.url + path, body and body.encode(), {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310  our own
            return json.load(reply)


@contextmanager
def elasticsearch(folder: Path, port: int) -> Iterator[Index]:
    """Run what speaks as Elasticsearch 8 does; it knows the page's template."""
    ask = Index(f"http://127.0.0.1:{port}")
    STAND_IN[0].chmod(0o755)
    command = [str(STAND_IN[0]), "start", "--data-dir", str(folder), "--only", "elasticsearch"]
    with serving([*command, "--elasticsearch-port", str(port)], ask.url, str(folder)):
        assert ask("PUT", "/_index_template/holter", shown("PUT _index_template/holter"))["acknowledged"]
        yield ask


def plain(line: dict[str, Any]) -> str:
    """Return a line in one spelling; what stands in for Elasticsearch reads the last digit of a number otherwise."""
    short = json.loads(json.dumps(line), parse_float=lambda text: float(f"{float(text):.13g}"))
    return json.dumps(short, sort_keys=True)


def check(ask: Index, lines: list[dict[str, Any]]) -> None:
    """Compare what is found with what was written: whole lines, by time, by word, and as numbers."""

    def found(query: dict[str, Any], **more: Any) -> Any:
        ask("POST", "/holter-*/_refresh")
        return ask("POST", "/holter-*/_search", json.dumps({"size": 1000, "query": query, **more}))

    def sources(query: dict[str, Any]) -> list[str]:
        return sorted(plain(hit["_source"]) for hit in found(query)["hits"]["hits"])

    poll("all lines", lambda: found({"match_all": {}})["hits"]["total"]["value"] >= len(lines))
    assert sorted(map(plain, lines)) == sources({"match_all": {}})
    warned = [plain(line) for line in lines if line["log.level"] == "warn"]
    assert warned
    assert sorted(warned) == sources({"term": {"log.level": "warn"}})
    assert sorted(warned) == sources({"match": {"message": "firing"}})
    times = [line["@timestamp"] for line in lines]
    assert len(lines) == len(sources({"range": {"@timestamp": {"gte": min(times), "lte": max(times)}}}))
    assert [] == sources({"range": {"@timestamp": {"lt": min(times)}}})
    calls = [line["holter"] for line in lines if line["holter"].get("metric") == "holter.call.duration"]
    query = {"bool": {"filter": [{"term": {"holter.metric": "holter.call.duration"}}]}}
    figures = {name: {"max": {"field": f"holter.{name}"}} for name in ("count", "p99")}
    told = found(query, aggs=figures)["aggregations"]
    for name in figures:
        assert pytest.approx(max(call[name] for call in calls)) == told[name]["value"]
    (mapping,) = (one["mappings"]["properties"] for one in ask("GET", "/holter-*/_mapping").values())
    kinds = {name: mapping["holter"]["properties"][name]["type"] for name in ("p99", "last", "count", "metric")}
    assert {"p99": "double", "last": "double", "count": "long", "metric": "keyword"} == kinds
    assert ("date", "text") == (mapping["@timestamp"]["type"], mapping["message"]["type"])


@needs_rsyslog
@needs_elasticsearch
def test_what_rsyslog_sends_is_found_in_elasticsearch(tmp_path: Path) -> None:
    """Each line unchanged, once, in the index of its day; also what was written while Elasticsearch was away."""
    port = free_port()
    # It has been there before, and keeps what it was told.
    with elasticsearch(tmp_path, port):
        pass
    with rsyslog(tmp_path, url=f"http://127.0.0.1:{port}"):
        lines = serve(tmp_path)
        poll("rsyslog's finding nobody there", lambda: "suspend" in (tmp_path / "rsyslog.log").read_text())
        with elasticsearch(tmp_path, port) as ask:
            check(ask, lines)
    assert not (tmp_path / "refused.json").exists()


@needs_elasticsearch
def test_lines_are_indexed_unchanged_by_elasticsearchs_own_client(tmp_path: Path) -> None:
    """In bulk, none refused."""
    client = pytest.importorskip("elasticsearch", reason="install it with: pip install 'elasticsearch<9'")
    helpers = pytest.importorskip("elasticsearch.helpers")
    lines = serve(tmp_path)
    with elasticsearch(tmp_path, free_port()) as ask:
        with client.Elasticsearch(ask.url) as connected:
            done, refused = helpers.bulk(connected, ({"_index": "holter-client", "_source": line} for line in lines))
        assert (len(lines), []) == (done, refused)
        check(ask, lines)
