"""What each of holter's metrics means, in one line, for readers of a page of metrics."""

from __future__ import annotations

from typing import Final

from holter import genai, names
from holter.metric import Series
from holter.words import clean

_OUTCOMES: Final = "by how it ended; the sum over all labels counts each once"

_HELP: Final = {
    names.CALL_DURATION: f"How long calls of a watched function took, {_OUTCOMES}.",
    names.CALL_ACTIVE: "Calls that are running now.",
    names.CALL_OLDEST_ACTIVE_AGE: "How long the oldest call that is running now has been running; 0 if none is.",
    names.CALL_UNITS: "Work done by calls, in the units that the program gave them.",
    names.SPAN_DURATION: f"How long a stage of a call took, {_OUTCOMES}.",
    names.SLOW_CALLS_DROPPED: "Slow or failed calls that no trace or exemplar tells of, because there were many.",
    names.STREAM_FIRST_ITEM: "From the start of a stream to its first item.",
    names.STREAM_BETWEEN_ITEMS: "The producer's time for each item of a stream after the first.",
    names.STREAM_PRODUCER_TIME: "The producer's time for a whole stream.",
    names.STREAM_CONSUMER_WAIT: "How long a stream lay suspended, waiting for its consumer.",
    names.STREAM_ITEMS: "Items that streams have produced.",
    names.HTTP_REQUEST_DURATION: "How long requests took, from the moment they reached the application.",
    names.REQUEST_QUEUE_TIME: "How long requests waited before they reached the application.",
    names.REQUEST_RECEIVE_TIME: "How long clients took to send what they ask.",
    names.REQUEST_HANDLE_TIME: "The application's own share of the time of requests.",
    names.REQUEST_SEND_TIME: "How long clients took to take the answer.",
    names.LLM_GOODPUT: "The share of the requests to a language model in the last minute that met all targets.",
    names.LLM_OUTPUT_RATE: "Output tokens of a request to a language model over its duration.",
    genai.REQUEST_DURATION: f"How long a request to a language model took, without a slow client, {_OUTCOMES}.",
    names.LLM_TOKEN_TIME: "The time for each token of a stream from a server after the first.",
    genai.TIME_TO_FIRST_TOKEN: "From the start of a stream of tokens to its first one.",
    genai.TIME_PER_OUTPUT_TOKEN: "The time for each token of a stream after the first.",
    genai.CLIENT_DURATION: f"How long a request to a server of a language model took, {_OUTCOMES}.",
    genai.CLIENT_OPERATION_DURATION: f"How long a request for no inference, such as embeddings, took, {_OUTCOMES}.",
    genai.CLIENT_TIME_TO_FIRST_CHUNK: "From a request to a server of a language model to the first part of its answer.",
    genai.INPUT_TOKENS: "Tokens that went into a language model.",
    genai.OUTPUT_TOKENS: "Tokens that came out of a language model.",
    names.TRAINING_STEP_DURATION: f"How long a step of training took with the wait for its data, {_OUTCOMES}.",
    names.TRAINING_DATA_WAIT: "The wait for a batch of training data.",
    names.TRAINING_SAMPLES: "Samples that training has seen.",
    names.TRAINING_EPOCH: "The epoch that training is in, counted from 0.",
    names.TRAINING_PROGRESS: "The share of its steps that training has done.",
    names.TRAINING_STEPS_DONE: "Steps that training has done.",
    names.TRAINING_STEPS_TOTAL: "Steps that training is to do.",
    names.TRAINING_RUN_DURATION: f"How long a run of training took that has ended, {_OUTCOMES}.",
    names.TRAINING_INFO: "The parameters of a run of training, as labels.",
    names.TRAINING_PHASE_DURATION: f"How long a phase of training took, {_OUTCOMES}.",
    names.RECORDS_WRITTEN: "Records that were read.",
    names.RECORDS_LOST: "Records that were overwritten before they were read; counts and sums have them all the same.",
    names.PROCESS_DEATHS: "Processes of this service that died before this one started.",
    names.VALUES_REFUSED: "Values that were refused because they were no numbers.",
    names.VALUES_NONFINITE: "Values that were NaN or infinite.",
    names.INTERNAL_ERRORS: "What went wrong inside holter, by place.",
    names.SLO_BUDGET: "The share of an objective's error budget that is left; below 0 when overspent.",
    names.SLO_BURN_RATE: "How many times as fast as an objective allows its error budget is spent.",
    names.SAMPLER_INTERVAL: "How often a sampler is called that took more than its budget of CPU time.",
    names.COLLECTOR_DURATION: "How long a round of holter's collector took.",
    names.GROUP_MEMBERS: "Processes of this service that live.",
    names.GROUP_SKIPPED: "Processes of this service whose recordings have another format.",
    names.GROUP_READ_INTERVAL: "The time between the last two readings of the other processes by the one that leads.",
    names.SERIES_COUNT: "Series that holter keeps.",
    names.EXPORTER_FAILURES: "Exports that failed.",
    names.EXPORTER_DROPPED: "Alerts that an exporter has never shipped.",
    names.GPU_UTILIZATION: "The share of the time in which a GPU had something to do.",
    names.GPU_MEMORY_USAGE: "The memory of a GPU that is used.",
    names.GPU_MEMORY_LIMIT: "The memory of a GPU.",
    names.GPU_MEMORY_UTILIZATION: "The share of a GPU's memory that is used.",
    names.GPU_IO: "What went over a GPU's PCIe link.",
    names.HARDWARE_POWER: "The power that a GPU takes.",
    names.HARDWARE_ENERGY: "The energy that a GPU has taken.",
    names.HARDWARE_TEMPERATURE: "How warm a GPU is.",
    names.HARDWARE_ERRORS: "Errors of a GPU's memory that its ECC has found.",
    names.GPU_MEMORY_ACTIVITY: "The share of the time in which a GPU's memory was read or written.",
    names.GPU_POWER_LIMIT: "The power that a GPU may take.",
    names.GPU_CLOCK: "How fast a GPU's clocks are.",
    names.GPU_THROTTLE: "1 while a GPU's clocks are held down for that reason.",
    names.GPU_THROTTLE_TIME: "How long a GPU's clocks have been held down for that reason.",
    names.GPU_NVLINK_IO: "What went over all NVLinks of a GPU.",
    names.GPU_PCIE_REPLAYS: "What had to be sent again over a GPU's PCIe link.",
    names.GPU_PCIE_GENERATION: "The generation in which a GPU's PCIe link runs now.",
    names.GPU_PCIE_WIDTH: "The lanes of a GPU's PCIe link that are in use now.",
    names.GPU_REMAPPED_ROWS: "Rows of a GPU's memory that others stand in for.",
    names.GPU_REMAP_PENDING: "1 where a row of a GPU's memory waits for a reset to be replaced.",
    names.GPU_REMAP_FAILED: "1 where a row of a GPU's memory could not be replaced.",
    names.GPU_XID: "Error events (Xid) of a GPU's driver, by their code.",
    names.GPU_PROCESS_MEMORY: "The memory of a GPU that this process, its children, and others hold.",
    names.GPU_PROCESS_UTILIZATION: "The share of time that a GPU worked for this process, its children, others.",
    names.GPU_INFO: "What a GPU is, as labels.",
    names.GPU_READING_AGE: "How old the newest reading of the GPUs is.",
    names.GPU_HELPER_FAILURES: "How often the process that reads the GPUs died or hung.",
    names.GPU_HELPER_CPU_TIME: "The CPU time of the process that reads the GPUs.",
    names.GPU_HELPER_MEMORY: "The resident memory of the process that reads the GPUs.",
    names.GPU_IDLE_IN_CALLS: "How long a GPU had nothing to do while calls were in flight, at the least.",
    names.CALL_ENERGY: "The energy of GPUs shared among calls by their time in flight.",
    names.LLM_TOKEN_ENERGY: "The energy of GPUs for each output token of the last minute.",
    names.OVERHEAD: "The share of the CPU time of the process that is holter's.",
    names.PROCESS_RUN_QUEUE_DELAY: "How long threads of the process could have run and waited for a CPU.",
    names.TREE_PROCESSES: "The process and those that have come of it.",
    names.TREE_CPU_TIME: "CPU time of the process and of those that have come of it, of those that ended too.",
    names.TREE_MEMORY_USAGE: "Resident memory of the process and of those that have come of it, shared pages in each.",
    names.TREE_THREADS: "Threads of the process and of those that have come of it.",
    names.HOST_PRESSURE: "How long some or all tasks of the machine stood still for want of a resource.",
    names.CGROUP_MEMORY_LIMIT: "The memory that the control groups of the process may use.",
    names.CGROUP_MEMORY_UTILIZATION: "The share of that memory which is used, but for cache that can be dropped.",
    names.CGROUP_CPU_LIMIT: "The CPUs that the control groups of the process may use.",
    names.CGROUP_CPU_PERIODS: "Periods of the CPU quota in which the control group ran.",
    names.CGROUP_CPU_THROTTLED_PERIODS: "Periods in which it used up its quota.",
    names.CGROUP_CPU_THROTTLED_TIME: "How long the control group stood still because its quota was used up.",
    names.CGROUP_OOM_KILLS: "Processes of the control group that the kernel has killed for want of memory.",
    names.CGROUP_PRESSURE: "How long some or all tasks of the control group stood still for want of a resource.",
    names.STORAGE_SIZE: "Bytes of the files under a path.",
    names.STORAGE_FILES: "Files under a path.",
    names.STORAGE_NEWEST_AGE: "How long ago a file under a path was last written.",
}


def metric_help(series: Series) -> str:
    """Return what the metric of *series* means, or what is known of it: its name and unit as they were given."""
    known = _HELP.get(series.name)
    if known is not None:
        return known
    if series.name.startswith(names.TRAINING_METRIC_PREFIX):
        return f"The {clean(series.name.removeprefix(names.TRAINING_METRIC_PREFIX))} that training has logged last."
    unit = "" if series.unit in ("", "1") else f", in {clean(series.unit)}"
    return f"{clean(series.name)}{unit}."
