"""The command line: ``ctxkit demo``, ``env``, ``check-config``, ``describe``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import ctxkit
from ctxkit.exceptions import ConfigurationError, CtxkitError
from ctxkit.flushing.budget import default_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MAX_REQUESTS = 200


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; None means those of the process.

    Returns:
        0 if the command did what it promises, 1 if it did not, 2 if it could not be
        run, 130 if it was interrupted.
    """
    options = _parser().parse_args(argv)
    # A plain SIGTERM would end this process and leave its frozen servers behind.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _COMMANDS[options.command](options)
    except CtxkitError as error:
        sys.stderr.write(f"ctxkit {options.command}: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _terminate(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def _parser() -> argparse.ArgumentParser:
    summary, *_ = (ctxkit.__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(prog="ctxkit", description=summary)
    parser.add_argument("--version", action="version", version=f"ctxkit {ctxkit.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands.add_parser)
    _add_reports(commands.add_parser)
    return parser


def _add_demo(add: Callable[..., argparse.ArgumentParser]) -> None:
    demo = add(
        "demo",
        help="show what a frozen process loses, and that nothing is lost with ctxkit",
        description="Run an example project under real gunicorn, uvicorn and awslambdaric, "
        "without and with ctxkit. Each server is frozen at the instant a response is complete, "
        "thawed for the next request, and killed at the end. Count which events, transactions, "
        "spans, logs and metrics have reached the backend, and when. Then follow one request by "
        "its trace: from the view into the threads of a pool, and into the work that goes on "
        "after the response.",
    )
    demo.add_argument("--json", action="store_true", help="print the result as JSON")
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("ctxkit-demo.html"),
        metavar="PAGE",
        help="where to write the page with the timelines (default: %(default)s)",
    )
    demo.add_argument(
        "--requests",
        type=_request_count,
        default=10,
        metavar="N",
        help="how many requests each server gets (default: %(default)s)",
    )
    which = demo.add_mutually_exclusive_group()
    which.add_argument(
        "--lanes",
        default="gunicorn,uvicorn,awslambdaric,lambda-decorator,lambda-extension",
        metavar="SERVERS",
        help="which servers, separated by commas (default: %(default)s)",
    )
    which.add_argument(
        "--all", action="store_true", help="every server that is known here and installed"
    )


def _add_reports(add: Callable[..., argparse.ArgumentParser]) -> None:
    env = add(
        "env",
        help="say which host this process runs on, by what evidence, and what that means",
        description="Say which host this process runs on, by which variable it was told, and "
        "which responses ctxkit holds there. Run it where the application runs.",
    )
    env.add_argument("--json", action="store_true", help="print it as JSON")
    config = add(
        "check-config",
        help="say what is wrong with a configuration of functions and pools",
        description="Read a TOML file that configures functions and pools, and name all mistakes "
        "in it at once. Nothing that it names is imported. The exit code is 0 if there are none.",
    )
    config.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="the file (default: the one that CTXKIT_CONFIG names)",
    )
    described = add(
        "describe",
        help="print a page about functions and contracts, as Markdown",
        description="Import modules, and print a page about every function and contract that is "
        "known then: names, signatures, docstrings, options. In a Django project it is "
        "`manage.py describe_functions`.",
    )
    described.add_argument("modules", nargs="+", metavar="MODULE", help="what to import first")
    described.add_argument("--schemas", action="store_true", help="with their JSON Schema")


def _request_count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_REQUESTS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MAX_REQUESTS}")
    return int(text)


def _demo(options: argparse.Namespace) -> int:
    from ctxkit.demo import (  # noqa: PLC0415 - for this command alone
        LATENCY,
        as_json,
        as_page,
        as_table,
        as_tree,
        choose_servers,
        installed_servers,
        proves_the_claim,
        rehearse,
        require_packages,
    )

    servers = installed_servers() if options.all else choose_servers(options.lanes.split(","))
    require_packages(servers)
    started = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - started:5.1f} s  {text}\n")
        sys.stderr.flush()

    lanes, journey = rehearse(servers, options.requests, say)
    options.output.write_text(as_page(lanes, LATENCY, journey), encoding="utf-8")
    if options.json:
        result = json.dumps(as_json(lanes, LATENCY, journey), indent=2)
    else:
        tree = as_tree(journey, sys.stdout.encoding)
        page = options.output.resolve().as_uri()
        result = f"\n{as_table(lanes)}\n\n{tree}\n\nThe timelines: {page}"
    sys.stdout.write(f"{result}\n")
    return 0 if proves_the_claim(lanes) else 1


def _env(options: argparse.Namespace) -> int:
    from ctxkit.boundary import BoundaryOptions  # noqa: PLC0415 - for this command alone

    environment = ctxkit.environment()
    chosen = BoundaryOptions.resolve()
    told: dict[str, object] = {
        "host": environment.name,
        "told by": environment.evidence or "nothing",
        "init type": environment.init_type,
        "held there": environment.hold,
        "held here": str(chosen.mode),
        "budget": default_timeout() if chosen.timeout is None else chosen.timeout,
        "evidence": list(environment.marks),
    }
    if options.json:
        result = json.dumps({name.replace(" ", "_"): told[name] for name in told}, indent=2)
    else:
        lines = [f"{name:<11} {told[name]}" for name in told if name != "evidence" and told[name]]
        lines += [f"{'evidence':<11} {mark}" for mark in environment.marks]
        result = "\n".join(lines)
    sys.stdout.write(f"{result}\n")
    return 0


def _check_config(options: argparse.Namespace) -> int:
    from ctxkit.functions._configured import CONFIG_VARIABLE  # noqa: PLC0415 - as below
    from ctxkit.functions.configuring import read_file  # noqa: PLC0415 - for this command alone

    path: str | None = options.file or os.environ.get(CONFIG_VARIABLE)
    if not path:
        sys.stderr.write(f"ctxkit check-config: name a file, or set {CONFIG_VARIABLE}\n")
        return 2
    try:
        found = read_file(path, "FILE" if options.file else CONFIG_VARIABLE)
    except ConfigurationError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    counts = (("pools", found.pools), ("functions", found.functions))
    lines = [f"{title:<11} {', '.join(names) or '-'}\n" for title, names in counts]
    sys.stdout.write("".join(lines))
    return 0


def _describe(options: argparse.Namespace) -> int:
    from ctxkit.functions import describe  # noqa: PLC0415 - for this command alone

    sys.path.insert(0, str(Path.cwd()))  # a script has its own folder there
    for module in options.modules:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            raise ConfigurationError(
                "describe",
                f"got {module!r}, and there is no module {error.name!r}",
                "Name another.",
            ) from None
    sys.stdout.write(describe(schemas=options.schemas))
    return 0


_COMMANDS = {
    "demo": _demo,
    "env": _env,
    "check-config": _check_config,
    "describe": _describe,
}

if __name__ == "__main__":
    sys.exit(main())
