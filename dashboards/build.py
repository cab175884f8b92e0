"""
Build the Grafana dashboard: `python dashboards/build.py` writes `holter.json` beside this file.

Import that file in Grafana (Dashboards, New, Import) and choose the Prometheus that scrapes the service.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("holter.json")
SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH, HEIGHT = 24, 8

ALL = 'job=~"$job",instance=~"$instance"'
CALL = f'{ALL},holter_call_name=~"$call"'
RATE = "[$__rate_interval]"
MODEL = "holter_call_name, gen_ai_request_model"
MODEL_LEGEND = "{{holter_call_name}} {{gen_ai_request_model}}"
CALLS = f"holter_call_duration_seconds_count{{{CALL}}}"
FAILED = f'holter_call_duration_seconds_count{{{CALL},holter_call_outcome=~"error|timeout"}}'


@dataclass(frozen=True)
class Query:
    """What Prometheus is asked, and what its series are called."""

    expression: str
    legend: str = "{{instance}}"


@dataclass(frozen=True)
class Panel:
    """One picture: its title, what it shows, the unit of its values in Grafana's words, and what it asks."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"


def rate(metric: str, by: str = "", selector: str = ALL) -> str:
    """Return the query for how fast a counter grows."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{selector}}}{RATE}))"


def quantiles(metric: str, by: str, selector: str = ALL) -> tuple[Query, ...]:
    """Return the queries for p50, p90 and p99 of a histogram."""
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    buckets = f"sum by ({by}, le) (rate({metric}_bucket{{{selector}}}{RATE}))"
    return tuple(Query(f"histogram_quantile({q}, {buckets})", f"{legend} p{q * 100:g}") for q in (0.5, 0.9, 0.99))


def requests() -> list[Panel]:
    """Return the panels of whole requests, as `holter.ASGI` records them."""
    parts = ("receive", "handle", "send")
    ended = f"sum by (http_route) (rate(http_server_request_duration_seconds_count{{{ALL}}}{RATE})) > 0"
    queued = f"{rate('holter_request_queue_time_seconds_count', 'http_route')} > 0"
    return [
        Panel(
            "Requests a second",
            "How many requests were answered, by route and status.",
            "reqps",
            (
                Query(
                    rate("http_server_request_duration_seconds_count", "http_route, http_response_status_code"),
                    "{{http_route}} {{http_response_status_code}}",
                ),
            ),
        ),
        Panel(
            "Time of a request",
            "From the moment it reaches the application until it is answered, a slow client's time included.",
            "s",
            quantiles("http_server_request_duration_seconds", "http_route"),
        ),
        Panel(
            "Where the time of a request goes",
            "Per request: its client sending it, the application, its client taking the answer.",
            "s",
            tuple(
                Query(
                    f"{rate(f'holter_request_{part}_time_seconds_sum', 'http_route')} / ({ended})",
                    f"{{{{http_route}}}} {part}",
                )
                for part in parts
            ),
        ),
        Panel(
            "Waiting before the service",
            "Per request, since the moment that a proxy has put into X-Request-Start. One that grows is overload.",
            "s",
            (
                Query(
                    f"{rate('holter_request_queue_time_seconds_sum', 'http_route')} / ({queued})",
                    "{{http_route}}",
                ),
            ),
        ),
    ]


def gpus() -> list[Panel]:
    """Return the panels of GPUs, which the process that leads a service tells of."""
    gpu, legend = "instance, hw_name", "{{instance}} {{hw_name}}"
    joules = f"sum by (holter_call_name) (rate(holter_call_energy_joules_total{{{CALL}}}{RATE}))"

    def level(metric: str, more: str = "") -> str:
        return f"max by ({gpu}) ({metric}{{{ALL}{more}}})"

    return [
        Panel(
            "GPU in use",
            "The share of the time in which a GPU had something to do.",
            "percentunit",
            (Query(level("hw_gpu_utilization_ratio", ',hw_gpu_task="general"'), legend),),
        ),
        Panel(
            "Busy in the GPU",
            "Of Hopper and newer models, in the mean: multiprocessors, tensor cores, the memory's bandwidth.",
            "percentunit",
            (
                Query(level("holter_gpu_sm_utilization_ratio"), f"{legend} multiprocessors"),
                Query(
                    level("holter_gpu_pipe_activity_ratio", ',holter_gpu_pipe_name="tensor"'), f"{legend} tensor cores"
                ),
                Query(level("holter_gpu_memory_bandwidth_utilization_ratio"), f"{legend} memory bandwidth"),
            ),
        ),
        Panel(
            "GPU idle while calls run",
            "At the least: the share of the time in which calls were in flight and a GPU had nothing to do.",
            "percentunit",
            (Query(rate("holter_gpu_idle_in_calls_seconds_total", gpu), legend),),
        ),
        Panel(
            "GPU memory",
            "The share that is used, by whomever.",
            "percentunit",
            (Query(level("hw_gpu_memory_utilization_ratio"), legend),),
        ),
        Panel("GPU power", "What a GPU takes.", "watt", (Query(level("hw_power_watts", ',hw_type="gpu"'), legend),)),
        Panel(
            "Energy of a call",
            "The energy of all GPUs, shared among calls by their time in flight.",
            "joule",
            (Query(f"{joules} / (sum by (holter_call_name) (rate({CALLS}{RATE})) > 0)", "{{holter_call_name}}"),),
        ),
        Panel(
            "Energy of a token",
            "Of the last minute.",
            "joule",
            (Query(f"max by (holter_call_name) (holter_llm_token_energy_joules{{{CALL}}})", "{{holter_call_name}}"),),
        ),
        Panel(
            "GPU temperature",
            "At each place that has a sensor.",
            "celsius",
            (
                Query(
                    f"max by ({gpu}, hw_sensor_location) (hw_temperature_celsius{{{ALL}}})",
                    f"{legend} {{{{hw_sensor_location}}}}",
                ),
            ),
        ),
        Panel(
            "GPU clocks held down",
            "The share of the time, by reason.",
            "percentunit",
            (
                Query(
                    rate("holter_gpu_throttle_time_seconds_total", f"{gpu}, holter_gpu_throttle_reason"),
                    f"{legend} {{{{holter_gpu_throttle_reason}}}}",
                ),
            ),
        ),
        Panel(
            "GPU traffic",
            "Over PCIe, from the GPU (transmit) and to it.",
            "Bps",
            (
                Query(
                    rate("hw_gpu_io_bytes_total", f"{gpu}, network_io_direction"),
                    f"{legend} {{{{network_io_direction}}}}",
                ),
            ),
        ),
        Panel(
            "GPU errors",
            "Found by ECC or told by the driver (Xid), and failures of the process that reads GPUs; in the time shown.",
            "short",
            (
                Query(f"sum (increase(hw_errors_total{{{ALL}}}[$__range])) or vector(0)", "ECC"),
                Query(f"sum (increase(holter_gpu_xid_total{{{ALL}}}[$__range])) or vector(0)", "Xid"),
                Query(f"sum (increase(holter_gpu_helper_failures_total{{{ALL}}}[$__range])) or vector(0)", "helper"),
            ),
            "stat",
        ),
    ]


ROWS: dict[str, list[Panel]] = {
    "Calls": [
        Panel(
            "Calls a second",
            "How many calls of each watched function ended, however they did.",
            "reqps",
            (Query(f"sum by (holter_call_name) (rate({CALLS}{RATE}))", "{{holter_call_name}}"),),
        ),
        Panel(
            "Duration",
            "How long calls took. Estimated from buckets, so within the bounds around it.",
            "s",
            quantiles("holter_call_duration_seconds", "holter_call_name", CALL),
        ),
        Panel(
            "Errors by type, a second",
            "Calls that failed or timed out, by the class of the error.",
            "reqps",
            (
                Query(
                    f"sum by (holter_call_name, error_type) (rate({FAILED}{RATE}))",
                    "{{holter_call_name}} {{error_type}}",
                ),
            ),
        ),
        Panel(
            "Share of calls that fail",
            "Errors and timeouts over all calls.",
            "percentunit",
            (
                Query(
                    f"(sum by (holter_call_name) (rate({FAILED}{RATE})) or "
                    f"0 * sum by (holter_call_name) (rate({CALLS}{RATE})))"
                    f" / (sum by (holter_call_name) (rate({CALLS}{RATE})) > 0)",
                    "{{holter_call_name}}",
                ),
            ),
        ),
        Panel(
            "Running now",
            "Calls that have begun and not ended.",
            "short",
            (Query(f"sum by (holter_call_name) (holter_call_active{{{CALL}}})", "{{holter_call_name}}"),),
        ),
        Panel(
            "Oldest call that runs",
            "A line that climbs is a call that hangs.",
            "s",
            (
                Query(
                    f"max by (holter_call_name) (holter_call_oldest_active_age_seconds{{{CALL}}})",
                    "{{holter_call_name}}",
                ),
            ),
        ),
        Panel(
            "Where the time of a call goes",
            "Time in each stage, per call.",
            "s",
            (
                Query(
                    "sum by (holter_call_name, holter_span_name) "
                    f"(rate(holter_span_duration_seconds_sum{{{CALL}}}{RATE}))"
                    " / on (holter_call_name) group_left () "
                    f"(sum by (holter_call_name) (rate({CALLS}{RATE})) > 0)",
                    "{{holter_call_name}} {{holter_span_name}}",
                ),
            ),
        ),
        Panel(
            "Work a second",
            "The units that calls were given as the size of their work.",
            "short",
            (Query(rate("holter_call_units_total", "holter_call_name", CALL), "{{holter_call_name}}"),),
        ),
    ],
    "Requests": requests(),
    "Streams": [
        Panel(
            "Items a second",
            "What streams have produced.",
            "short",
            (Query(rate("holter_stream_items_total", "holter_call_name", CALL), "{{holter_call_name}}"),),
        ),
        Panel(
            "Time to the first item",
            "From the start of a stream.",
            "s",
            quantiles("holter_stream_time_to_first_item_seconds", "holter_call_name", CALL),
        ),
        Panel(
            "Time between items",
            "The producer's time alone.",
            "s",
            quantiles("holter_stream_time_between_items_seconds", "holter_call_name", CALL),
        ),
        Panel(
            "Waiting for consumers",
            "Seconds a second in which streams lay suspended: a slow client is not a slow model.",
            "s",
            (Query(rate("holter_stream_consumer_wait_seconds_sum", "holter_call_name", CALL), "{{holter_call_name}}"),),
        ),
    ],
    "Language models": [
        Panel(
            "Tokens a second",
            "Tokens that went in and came out.",
            "short",
            (
                Query(rate("gen_ai_client_inference_usage_output_tokens_total", MODEL), f"{MODEL_LEGEND} out"),
                Query(rate("gen_ai_client_inference_usage_input_tokens_total", MODEL), f"{MODEL_LEGEND} in"),
            ),
        ),
        Panel(
            "Time to the first token",
            "From the start of a stream.",
            "s",
            quantiles("gen_ai_server_time_to_first_token_seconds", MODEL),
        ),
        Panel(
            "Time for each token after it",
            "The model's time alone.",
            "s",
            quantiles("gen_ai_server_time_per_output_token_seconds", MODEL),
        ),
        Panel(
            "Goodput",
            "The share of the last requests that met all their targets.",
            "percentunit",
            (
                Query(
                    f"min by (holter_call_name) (holter_llm_goodput_ratio{{{CALL}}})",
                    "{{holter_call_name}}",
                ),
            ),
        ),
    ],
    "Training": [
        Panel(
            "Steps a second",
            "Steps that ended.",
            "short",
            (
                Query(
                    rate("holter_training_step_duration_seconds_count", "holter_training_name"),
                    "{{holter_training_name}}",
                ),
            ),
        ),
        Panel(
            "Duration of a step",
            "The wait for its data included.",
            "s",
            quantiles("holter_training_step_duration_seconds", "holter_training_name"),
        ),
        Panel(
            "Share of the time that waits for data",
            "Near 1, the loader is what training waits for.",
            "percentunit",
            (
                Query(
                    f"{rate('holter_training_data_wait_seconds_sum', 'holter_training_name')}"
                    f" / ({rate('holter_training_step_duration_seconds_sum', 'holter_training_name')} > 0)",
                    "{{holter_training_name}}",
                ),
            ),
        ),
        Panel(
            "Samples a second",
            "What training has seen.",
            "short",
            (Query(rate("holter_training_samples_total", "holter_training_name"), "{{holter_training_name}}"),),
        ),
        Panel(
            "Progress",
            "The share of its steps that training has done.",
            "percentunit",
            (
                Query(
                    f"max by (holter_training_name) (holter_training_progress_ratio{{{ALL}}})",
                    "{{holter_training_name}}",
                ),
            ),
        ),
        Panel(
            "What was logged",
            "Loss and whatever else the program logs.",
            "short",
            (
                Query(
                    f'{{__name__=~"holter_training_metric_.+",{ALL}}}',
                    "{{__name__}} {{holter_training_name}}",
                ),
            ),
        ),
    ],
    "Process": [
        Panel(
            "CPUs in use",
            "CPU seconds a second.",
            "short",
            (Query(rate("process_cpu_time_seconds_total", "instance, cpu_mode"), "{{instance}} {{cpu_mode}}"),),
        ),
        Panel(
            "Memory",
            "Resident.",
            "bytes",
            (Query(f"process_memory_usage_bytes{{{ALL}}}"),),
        ),
        Panel("Threads", "Of the process.", "short", (Query(f"process_threads{{{ALL}}}"),)),
        Panel(
            "Open files",
            "Files, sockets and pipes.",
            "short",
            (Query(f"process_unix_file_descriptors{{{ALL}}}"),),
        ),
        Panel(
            "CPU of the host",
            "The share of all CPUs' time that is not idle.",
            "percentunit",
            (
                Query(
                    f'sum by (instance) (system_cpu_utilization_ratio{{{ALL},cpu_mode!="idle"}})',
                ),
            ),
        ),
        Panel(
            "Memory of the host",
            "The share that is used.",
            "percentunit",
            (Query(f"system_memory_utilization_ratio{{{ALL}}}"),),
        ),
    ],
    "GPUs": gpus(),
    "holter itself": [
        Panel(
            "Overhead",
            "The share of the CPU time of the process that is holter's.",
            "percentunit",
            (Query(f"holter_overhead_ratio{{{ALL}}}"),),
        ),
        Panel(
            "Records a second",
            "What was recorded, and what was overwritten before it was read; counts and sums have that all the same.",
            "short",
            (
                Query(rate("holter_records_written_total"), "written"),
                Query(rate("holter_records_lost_total"), "lost"),
            ),
        ),
        Panel(
            "Internal errors and failed exports",
            "In the time shown; 0 is what they should be.",
            "short",
            (
                Query(f"sum (increase(holter_internal_errors_total{{{ALL}}}[$__range])) or vector(0)", "errors"),
                Query(f"sum (increase(holter_exporter_failures_total{{{ALL}}}[$__range])) or vector(0)", "exports"),
            ),
            "stat",
        ),
        Panel(
            "Alerts of holter's own checks",
            "1 while one is firing.",
            "short",
            (
                Query(
                    f"max by (holter_alert_target, holter_alert_expected) (holter_alerts_firing{{{ALL}}})"
                    " or on () vector(0)",
                    "{{holter_alert_target}} {{holter_alert_expected}}",
                ),
            ),
        ),
        Panel(
            "Processes",
            "What runs, in which version.",
            "short",
            (
                Query(
                    f"count by (service_name, service_version) (holter_info{{{ALL}}})",
                    "{{service_name}} {{service_version}}",
                ),
            ),
            "stat",
        ),
    ],
}


def host_rows() -> dict[str, list[Panel]]:
    """Return the rows on the process with its children, on the host, on the container and on stored files."""
    some = f'{ALL},holter_pressure_stalled="some"'
    throttled = rate("holter_cgroup_cpu_throttled_periods_total", "instance")
    return {
        "Process, closer": [
            Panel(
                "CPUs in use, with children",
                "CPU seconds a second of the process and all that have come of it.",
                "short",
                (
                    Query(
                        rate("holter_process_tree_cpu_time_seconds_total", "instance, cpu_mode"),
                        "{{instance}} {{cpu_mode}}",
                    ),
                ),
            ),
            Panel(
                "Memory, with children",
                "Resident; what several of them share counts in each.",
                "bytes",
                (Query(f"holter_process_tree_memory_usage_bytes{{{ALL}}}"),),
            ),
            Panel(
                "The process and its children",
                "How many they are.",
                "short",
                (Query(f"holter_process_tree_processes{{{ALL}}}"),),
            ),
            Panel(
                "Waiting for a CPU",
                "Seconds a second in which threads could have run and had no CPU; 1 is one thread that never runs.",
                "short",
                (Query(rate("holter_process_run_queue_delay_seconds_total", "instance")),),
            ),
            Panel(
                "Context switches a second",
                "Involuntary ones are those of a thread that had more to do.",
                "short",
                (
                    Query(
                        rate("process_context_switches_total", "instance, process_context_switch_type"),
                        "{{instance}} {{process_context_switch_type}}",
                    ),
                ),
            ),
            Panel(
                "Page faults a second",
                "Major ones waited for the disk.",
                "short",
                (
                    Query(
                        rate("process_paging_faults_total", "instance, system_paging_fault_type"),
                        "{{instance}} {{system_paging_fault_type}}",
                    ),
                ),
            ),
        ],
        "Host": [
            Panel(
                "Disks of the host, bytes a second",
                "Of all physical disks.",
                "Bps",
                (
                    Query(
                        rate("system_disk_io_bytes_total", "instance, disk_io_direction"),
                        "{{instance}} {{disk_io_direction}}",
                    ),
                ),
            ),
            Panel(
                "Disks of the host, operations a second",
                "Of all physical disks.",
                "iops",
                (
                    Query(
                        rate("system_disk_operations_total", "instance, disk_io_direction"),
                        "{{instance}} {{disk_io_direction}}",
                    ),
                ),
            ),
            Panel(
                "Network of the host, bytes a second",
                "Of all physical interfaces.",
                "Bps",
                (
                    Query(
                        rate("system_network_io_bytes_total", "instance, network_io_direction"),
                        "{{instance}} {{network_io_direction}}",
                    ),
                ),
            ),
            Panel(
                "Pressure on the host",
                "The share of the time in which something waited for a CPU, for memory or for the storage.",
                "percentunit",
                (
                    Query(
                        rate("holter_host_pressure_seconds_total", "instance, holter_pressure_resource", some),
                        "{{instance}} {{holter_pressure_resource}}",
                    ),
                ),
            ),
        ],
        "Container": [
            Panel(
                "Memory of the container",
                "What is used, but for cache that can be dropped, and the limit.",
                "bytes",
                (
                    Query(f"container_memory_working_set_bytes{{{ALL}}}", "{{instance}} used"),
                    Query(f"holter_cgroup_memory_limit_bytes{{{ALL}}}", "{{instance}} limit"),
                ),
            ),
            Panel(
                "CPUs of the container",
                "CPU seconds a second, and the quota.",
                "short",
                (
                    Query(rate("container_cpu_time_seconds_total", "instance"), "{{instance}} used"),
                    Query(f"holter_cgroup_cpu_limit{{{ALL}}}", "{{instance}} limit"),
                ),
            ),
            Panel(
                "Throttled",
                "The share of the quota's periods in which it was used up.",
                "percentunit",
                (Query(f"{throttled} / ({rate('holter_cgroup_cpu_periods_total', 'instance')} > 0)"),),
            ),
            Panel(
                "Pressure in the container",
                "The share of the time in which something waited for a CPU, for memory or for the storage.",
                "percentunit",
                (
                    Query(
                        rate("holter_cgroup_pressure_seconds_total", "instance, holter_pressure_resource", some),
                        "{{instance}} {{holter_pressure_resource}}",
                    ),
                ),
            ),
            Panel(
                "Killed for want of memory",
                "Processes of the container, in the time shown; 0 is what it should be.",
                "short",
                (Query(f"sum (increase(holter_cgroup_oom_kills_total{{{ALL}}}[$__range]))", "processes"),),
                "stat",
            ),
        ],
        "Storage": [
            Panel(
                "Stored",
                "Bytes of the files under each path.",
                "bytes",
                (Query(f"holter_storage_size_bytes{{{ALL}}}", "{{instance}} {{holter_storage_path}}"),),
            ),
            Panel(
                "Free",
                "Room of the file systems in which they lie.",
                "bytes",
                (
                    Query(
                        f'system_filesystem_usage_bytes{{{ALL},system_filesystem_state="free"}}',
                        "{{instance}} {{system_filesystem_mountpoint}}",
                    ),
                ),
            ),
            Panel(
                "Since a file was written",
                "A line that climbs on is a checkpoint that is not written.",
                "s",
                (Query(f"holter_storage_newest_age_seconds{{{ALL}}}", "{{instance}} {{holter_storage_path}}"),),
            ),
        ],
    }


def rows() -> dict[str, list[Panel]]:
    """Return all rows in their order; what holter says of itself comes last."""
    known = dict(ROWS)
    itself = {"holter itself": known.pop("holter itself")}
    return {**known, **host_rows(), **itself}


def variable(name: str, label: str, query: str) -> dict[str, Any]:
    """Return a choice of the values of a label, all by default."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def panels() -> Iterator[dict[str, Any]]:
    """Yield the rows and their panels, two beside each other."""
    number, top = 0, 0
    for title, row in rows().items():
        number += 1
        place = {"h": 1, "w": WIDTH, "x": 0, "y": top}
        yield {"id": number, "type": "row", "title": title, "gridPos": place, "collapsed": False, "panels": []}
        top += 1
        for index, panel in enumerate(row):
            number += 1
            left = index % 2 * WIDTH // 2
            place = {"h": HEIGHT, "w": WIDTH // 2, "x": left, "y": top + index // 2 * HEIGHT}
            yield {
                "id": number,
                "type": panel.kind,
                "title": panel.title,
                "description": panel.description,
                "gridPos": place,
                "datasource": SOURCE,
                "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0} | _lines(panel), "overrides": []},
                "options": _options(panel),
                "targets": [
                    {
                        "refId": chr(ord("A") + at),
                        "datasource": SOURCE,
                        "expr": query.expression,
                        "legendFormat": query.legend,
                    }
                    for at, query in enumerate(panel.queries)
                ],
            }
        top += (len(row) + 1) // 2 * HEIGHT


def _lines(panel: Panel) -> dict[str, Any]:
    return {"custom": {"fillOpacity": 10, "showPoints": "never"}} if panel.kind == "timeseries" else {}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none"}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}


def build() -> str:
    """Return the dashboard as the text of its file."""
    dashboard = {
        "uid": "holter",
        "title": "holter",
        "tags": ["holter"],
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"type": "datasource", "name": "source", "label": "Prometheus", "query": "prometheus"},
                variable("job", "Job", "label_values(holter_info, job)"),
                variable("instance", "Instance", 'label_values(holter_info{job=~"$job"}, instance)'),
                variable(
                    "call",
                    "Call",
                    f"label_values(holter_call_duration_seconds_count{{{ALL}}}, holter_call_name)",
                ),
            ]
        },
        "panels": list(panels()),
    }
    return json.dumps(dashboard, indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(build(), encoding="utf-8")
