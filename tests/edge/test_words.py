"""What a device has found, in words."""

from __future__ import annotations

from nightshift.edge import words
from nightshift.edge.manifest import DeviceCheck, Footprint, Latency, Parity

CHECK = DeviceCheck(
    bundle_id="b" * 64,
    device="shelf-3",
    architecture="aarch64",
    onnxruntime="1.22.1",
    parity=Parity(rows=1256, max_abs={"score": 2e-7}, tolerance={"score": 1e-5}, flips=0, ok=True),
    latency=Latency(p50_ms=1.2345, p99_ms=12.345, runs=300),
    footprint=Footprint(memory_mb=88.4, start_s=0.914),
    checked_at="2026-02-03T04:05:06Z",
)


def test_a_check_reads_line_by_line() -> None:
    assert dict(words.lines(CHECK)) == {
        "device": "shelf-3, aarch64, onnxruntime 1.22.1",
        "answers": "as the training library's on 1,256 rows: 0 labels differ, score within 2e-07 of 1e-05",
        "latency": "p50 1.23 ms, p99 12.3 ms, one row, one thread",
        "memory": "88 MB in memory, first answer after 0.91 s",
    }


def test_what_is_amiss_is_said() -> None:
    wrong = Parity(rows=9, max_abs={"score": float("inf")}, tolerance={"score": 1e-5}, flips=1, ok=False)
    told = dict(
        words.lines(
            CHECK.model_copy(
                update={
                    "board": "Raspberry Pi 5",
                    "stand_in": "x86_64 in place of aarch64",
                    "parity": wrong,
                    "temperature_c": 81.6,
                    "throttled": True,
                }
            )
        )
    )
    assert told["device"].startswith("shelf-3 (Raspberry Pi 5), aarch64")
    assert told["stands in"] == "x86_64 in place of aarch64: no check of the target's own device"
    assert (
        told["answers"] == "NOT the training library's on 9 rows: 1 label differs, score no number or of another shape"
    )
    assert told["processor"] == "82 °C, throttled"
    assert words.processor(CHECK.model_copy(update={"throttled": False})) == "not throttled"
