"""What spinning threads cost on a machine that does something else too.

    python -m benchmarks.engine.waiting_threads

Inversion of 16 images is timed in processes of their own, while as many other processes as there
are cores keep the machine busy: with threads that spin while they wait, and with threads that
sleep.
"""

import multiprocessing
import os
import subprocess
import sys
import time

import click

STEPS = 6
COUNT = 16
TIMEOUT_SECONDS = 120


def measure(steps: int) -> float:
    """Images times steps per second of inversion in this process."""
    from editvec.avatars import default
    from editvec.engine.editing.inversion import EmbedSettings
    from editvec.engine.editor import Editor

    editor = Editor.open(default.BUNDLE_FOLDER)
    images = editor.synthesize(editor.sample(COUNT, seed=1)).clone()
    editor.embed(images, EmbedSettings(num_steps=1))
    started = time.perf_counter()
    editor.embed(images, EmbedSettings(num_steps=steps))
    return COUNT * steps / (time.perf_counter() - started)


def measured_with(policy: str) -> float:
    """The same in a new process under a wait policy; 0 when it does not end in time."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.engine.waiting_threads", "--child"],
            env={**os.environ, "OMP_WAIT_POLICY": policy},
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return 0.0
    return float(done.stdout)


def _busy() -> None:
    while True:
        pass


@click.command()
@click.option("--child", is_flag=True, hidden=True)
def command(child: bool) -> None:
    """Print images times steps per second, spinning and sleeping, on a busy machine."""
    if child:
        click.echo(measure(STEPS))
        return
    neighbours = [
        multiprocessing.Process(target=_busy, daemon=True) for _ in range(os.cpu_count() or 1)
    ]
    for neighbour in neighbours:
        neighbour.start()
    spinning, sleeping = measured_with("ACTIVE"), measured_with("PASSIVE")
    for neighbour in neighbours:
        neighbour.terminate()
    slowest = "" if spinning else f" (did not end within {TIMEOUT_SECONDS} s)"
    click.echo(f"threads that spin   {spinning:6.1f} image-steps/s{slowest}")
    click.echo(f"threads that sleep  {sleeping:6.1f} image-steps/s")


if __name__ == "__main__":
    command()
