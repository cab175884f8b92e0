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
    names.SAMPLER_INTERVAL: "How often a sampler is called that took more than its budget of CPU time.",
    names.COLLECTOR_DURATION: "How long a round of holter's collector took.",
    names.GROUP_MEMBERS: "Processes of this service that live.",
    names.GROUP_SKIPPED: "Processes of this service whose recordings have another format.",
    names.GROUP_READ_INTERVAL: "The time between the last two readings of the other processes by the one that leads.",
    names.SERIES_COUNT: "Series that holter keeps.",
    names.EXPORTER_FAILURES: "Exports that failed.",
    names.EXPORTER_DROPPED: "Alerts that an exporter has never shipped.",
    names.GC_PAUSE: "How long collections of garbage took, by generation; where there are many, the longest of them.",
    names.GC_TIME: "How long all collections of garbage took.",
    names.GC_COLLECTIONS: "Collections of garbage, by generation.",
    names.GC_COLLECTED: "Objects that the garbage collector has freed.",
    names.GC_UNCOLLECTABLE: "Objects that the garbage collector could not free.",
    names.GIL_WAIT: "How much later than due, and than a busy CPU explains, a thread of holter's got the GIL.",
    names.LOOP_LAG: "How late event loops came to a step that they were asked for.",
    names.LOOP_BLOCKED: "For how long an event loop has not come to a step that it was asked for.",
    names.ALLOCATED_BLOCKS: "Blocks of memory that Python's allocator has given out.",
    names.CALL_PAUSE: "The time that slow calls lost to one cause, where it was a fifth of theirs or more.",
    names.OVERHEAD: "The share of the CPU time of the process that is holter's.",
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
