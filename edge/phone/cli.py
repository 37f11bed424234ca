"""`dermedge phone`: the classifier as a web app for phones."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from dermedge.edge.cli.arguments import Parser, examples_epilog, make_parser
from dermedge.edge.model.shipped import DEFAULT_MODEL, SHIPPED, model_path
from dermedge.edge.phone.authority import authority_folder, make_context, open_authority
from dermedge.edge.phone.build import build_app
from dermedge.edge.phone.serve import LOOPBACK, load_files, make_server, trust_files

__all__ = ["main", "parser"]

_BYTES_PER_MB = 1e6
# The largest port for --port; the port after it must be valid too.
_LAST_PORT = 65534
# Commands that the ends of the helps show.
_BUILD_EXAMPLES = ("dermedge phone build app/", "dermedge phone build app/ --model mine.tflite")
_SERVE_EXAMPLES = ("dermedge phone serve app/", "dermedge phone serve app/ --host 192.168.1.20")


def main(argv: Sequence[str] | None = None) -> int:
    """Builds the app, or serves it until Ctrl-C."""
    options = parser().parse_args(argv)
    command: Callable[[argparse.Namespace], None] = options.run
    command(options)
    return 0


def _build(options: argparse.Namespace) -> None:
    """Writes the app."""
    built = build_app(options.model, options.folder)
    print(
        f"wrote {built.folder}: {len(built.files)} files, {built.bytes / _BYTES_PER_MB:.1f} MB, "
        f"model {built.model_sha256[:16]}"
    )
    print(f"copy it to any web server with HTTPS, or run: dermedge phone serve {built.folder}")


def _serve(options: argparse.Namespace) -> None:
    """Serves the app on this machine.

    With --host, serves it on the network, and a page that explains how to trust this machine.
    """
    files = load_files(options.folder)
    if options.host is None:
        with make_server(files, LOOPBACK, options.port) as server:
            print(
                f"http://localhost:{server.server_port}/ (Ctrl-C ends the server; with --host, a phone can "
                f"open the app)",
                flush=True,
            )
            server.serve_forever()
        return
    import segno

    authority = open_authority(authority_folder(), options.host)
    with make_server(files, options.host, options.port, make_context(authority, options.host)) as server:
        url = f"https://{_in_url(options.host)}:{server.server_port}/"
        trust_port = server.server_port + 1 if options.port else 0
        with make_server(trust_files(authority, url), options.host, trust_port) as trust:
            trust_url = f"http://{_in_url(options.host)}:{trust.server_port}/"
            segno.make(trust_url, micro=False).terminal(compact=True)
            print(f"1. on the phone: {trust_url}   (the code above; how to trust this machine, once)")
            print(f"2. then:         {url}")
            print(f"SHA-256 of the certificate authority: {authority.fingerprint}")
            print(
                f"It is valid for {options.host} only, and for a year. Its key is in {authority_folder()}. "
                f"Ctrl-C ends the server.",
                flush=True,
            )
            threading.Thread(target=trust.serve_forever, daemon=True).start()
            server.serve_forever()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _port(text: str) -> int:
    """An argparse type: a TCP port."""
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port of 0 to {_LAST_PORT}")
    return int(text)


def parser() -> Parser:
    """Returns the options of `dermedge phone`."""
    made = make_parser(
        "phone",
        "Write the classifier as a web app for phones that works without a network, and serve it.",
        (*_BUILD_EXAMPLES, *_SERVE_EXAMPLES),
    )
    commands = made.add_subparsers(dest="command", required=True, parser_class=Parser, metavar="COMMAND")
    _add_build(commands)
    _add_serve(commands)
    return made


def _add_build(commands: argparse._SubParsersAction[Parser]) -> None:
    building = commands.add_parser(
        "build",
        help="write the app into a new folder",
        description="Write a web app that classifies on the phone itself and works without a network. The app is a "
        "folder of plain files. Any web server with HTTPS can serve it. Needs Node.js 20 or newer with npm.",
        epilog=examples_epilog(_BUILD_EXAMPLES),
    )
    building.set_defaults(run=_build)
    building.add_argument("folder", type=Path, metavar="OUT", help="Write the app into this new folder.")
    building.add_argument(
        "--model",
        type=model_path,
        default=DEFAULT_MODEL,
        help=f"Put this int8 .tflite of `dermedge convert` into the app, or one that ships: {', '.join(SHIPPED)}.",
    )


def _add_serve(commands: argparse._SubParsersAction[Parser]) -> None:
    serving = commands.add_parser(
        "serve",
        help="show a built app in a browser",
        description="Serve a built app until Ctrl-C. Without --host, only browsers on this machine can open it. With "
        "--host, phones on the network can open it over HTTPS; the QR code that is printed opens a page that says how.",
        epilog=examples_epilog(_SERVE_EXAMPLES),
    )
    serving.set_defaults(run=_serve)
    serving.add_argument("folder", type=Path, metavar="OUT", help="Show the app in this folder.")
    serving.add_argument(
        "--host",
        metavar="ADDRESS",
        help="Serve to a phone over HTTPS, at this address or name of this machine; needs dermedge[phone].",
    )
    serving.add_argument(
        "--port",
        type=_port,
        default=8000,
        help="Serve on this port. With --host, the next port explains how to trust the certificate. "
        "Default: 8000.",
    )
