"""A Classifier works after a fork, even if other threads used it at that time."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime import BackendUnavailable, Classifier
from runtime.backends import ENGINES

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
PRETRAINED = Path(runtime.__file__).parent / "pretrained"
INSTALLED = [engine for engine in ENGINES if engine.installed()]
TIMEOUT_S = 300  # a forked process that takes longer hangs; a busy emulator needs tens of seconds
LARGE_BATCH = 300  # images; more than an engine takes in one call
# OpenBLAS in NumPy 1 hangs in a forked process if another thread was computing with it.
READS_AFTER_FORK = int(np.__version__.split(".")[0]) >= 2


def in_fork(work, forked=lambda: None):
    """Run `work` in a forked process until its normal end; return the exit status, or "hangs".

    Call `forked` in this process after the fork.
    """
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of threads
        child = os.fork()
    if child == 0:
        signal.alarm(TIMEOUT_S)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    forked()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "hangs" if status == -signal.SIGALRM else status


@pytest.fixture(
    params=[(engine, threads) for engine in INSTALLED for threads in (1, 2)],
    ids=lambda each: f"{each[0].name}-{each[1]}",
)
def classifier(request):
    """A classifier that was used before the fork, with an int8 model and one or two threads."""
    engine, threads = request.param
    path = PRETRAINED / f"digits-int8{engine.suffix}"
    opened = Classifier.load(path, backend=engine.name, threads=threads)
    opened.scores(np.zeros((LARGE_BATCH, 28, 28, 1), np.uint8))
    opened.read(page(opened))
    return opened


def page(classifier):
    digit = classifier.spec.golden.pixels[0, :, :, 0]
    return 255 - np.pad(np.kron(digit, np.ones((3, 3), np.uint8)), 20)


def use(classifier, expected):
    assert np.array_equal(classifier.scores(classifier.spec.golden.pixels), expected)
    classifier.scores(np.zeros((LARGE_BATCH, 28, 28, 1), np.uint8))
    if READS_AFTER_FORK:
        classifier.read(page(classifier))


def test_classifier_works_after_a_fork(classifier):
    expected = classifier.scores(classifier.spec.golden.pixels)
    assert in_fork(lambda: use(classifier, expected)) == 0
    use(classifier, expected)


def test_classifier_works_after_a_fork_while_other_threads_use_it(classifier):
    """Only the moment of the fork matters: then the threads end, which saves emulators minutes."""
    expected = classifier.scores(classifier.spec.golden.pixels)
    works = [
        (classifier.scores, classifier.spec.golden.pixels),
        (classifier.scores, np.zeros((LARGE_BATCH, 28, 28, 1), np.uint8)),
    ]
    if READS_AFTER_FORK:
        works.append((classifier.read, page(classifier)))
    for delay in range(5):
        end = threading.Event()
        threads = [threading.Thread(target=repeat, args=(end, *work)) for work in works]
        for thread in threads:
            thread.start()
        time.sleep(delay / 50)
        try:
            assert in_fork(lambda: use(classifier, expected), forked=end.set) == 0
        finally:
            end.set()
            for thread in threads:
                thread.join()
    use(classifier, expected)


def repeat(end, work, *arguments):
    while not end.is_set():
        work(*arguments)


def test_classifier_works_after_a_second_fork(classifier):
    expected = classifier.scores(classifier.spec.golden.pixels)

    def fork_again():
        assert in_fork(lambda: use(classifier, expected)) == 0
        use(classifier, expected)
        assert in_fork(lambda: use(classifier, expected)) == 0

    assert in_fork(fork_again) == 0


def test_classifier_works_in_a_pool_of_forked_processes(classifier):
    pixels = classifier.spec.golden.pixels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context("fork").Pool(2, _keep, (classifier,)) as pool:
            scores = pool.map_async(_scores, [pixels] * 4).get(TIMEOUT_S)
    assert all(np.array_equal(one, classifier.scores(pixels)) for one in scores)


def _keep(classifier):
    global kept
    kept = classifier


def _scores(pixels):
    return kept.scores(pixels)


@pytest.mark.parametrize("used", [False, True])
def test_forked_process_ends_by_itself(engine_and_path, used):
    """The engine of the former process is not closed: it would wait for its threads."""
    engine, path = engine_and_path
    script = (
        "import os, signal, sys\n"
        "import numpy as np\n"
        f"from {Classifier.__module__} import Classifier\n"
        f"classifier = Classifier.load({str(path)!r}, backend={engine.name!r}, threads=2)\n"
        f"pixels = np.zeros(({LARGE_BATCH}, 28, 28, 1), np.uint8)\n"
        "classifier.scores(pixels)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        f"    signal.alarm({TIMEOUT_S})\n"
        f"    {used} and classifier.scores(pixels)\n"
        "    sys.exit(5)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout == "5\n", result.stderr


def test_classifier_without_a_file_raises_after_a_fork(classifier):
    bare = Classifier(classifier.backend)

    def use_bare():
        with pytest.raises(BackendUnavailable, match="opened before a fork: open one in each"):
            bare.scores(classifier.spec.golden.pixels)

    assert in_fork(use_bare) == 0
