"""The command `dermedge phone`, which builds the classifier as a web app for phones, and serves the app."""

from __future__ import annotations

import argparse
import shlex
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from dermedge.edge.cli.arguments import Parser, examples_epilog, make_parser
from dermedge.edge.model.shipped import DEFAULT_MODEL, SHIPPED, model_path
from dermedge.edge.phone.authority import authority_folder, make_context, open_authority
from dermedge.edge.phone.build import build_app
from dermedge.edge.phone.serve import LOOPBACK, load_files, make_server, trust_files
from dermedge.edge.printable import printable

__all__ = ["main", "parser"]

_BYTES_PER_MB = 1e6
# The largest value of --port. It is not the largest port, because --host uses the next port too.
_LAST_PORT = 65534
# The examples at the end of the help texts.
_BUILD_EXAMPLES = ("dermedge phone build app/", "dermedge phone build app/ --model mine.tflite")
_SERVE_EXAMPLES = ("dermedge phone serve app/", "dermedge phone serve app/ --host 192.168.1.20")


def main(argv: Sequence[str] | None = None) -> int:
    """Builds the app, or serves a built app until the user presses Ctrl-C."""
    options = parser().parse_args(argv)
    command: Callable[[argparse.Namespace], None] = options.run
    command(options)
    return 0


def _build(options: argparse.Namespace) -> None:
    """Builds the app, and prints what was written and how to serve it."""
    built = build_app(options.model, options.folder)
    print(
        f"wrote {built.folder}: {len(built.files)} files, {built.bytes / _BYTES_PER_MB:.1f} MB, "
        f"model {built.model_sha256[:16]}"
    )
    print(
        f"copy this folder to any web server with HTTPS, or run: dermedge phone serve "
        f"{printable(shlex.quote(str(built.folder)))}"
    )


def _serve(options: argparse.Namespace) -> None:
    """Serves the app to browsers on this machine.

    With --host, serves the app on the network, and also a page that explains how a phone can trust this machine.
    """
    files = load_files(options.folder)
    if options.host is None:
        with make_server(files, LOOPBACK, options.port) as server:
            print(
                f"Open http://localhost:{server.server_port}/ on this machine. For a phone, add --host ADDRESS. Ctrl-C "
                f"stops the server.",
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
            print(f"1. On the phone, scan the code above, or open {trust_url}")
            print("   The page explains how the phone can trust this machine. Do this once.")
            print(f"2. Then open {url}")
            print(f"SHA-256 of the certificate authority: {authority.fingerprint}")
            print(
                f"The certificate authority is valid for {options.host} only, and for a year. Its private key is in "
                f"{authority_folder()}. Ctrl-C stops the server.",
                flush=True,
            )
            threading.Thread(target=trust.serve_forever, daemon=True).start()
            server.serve_forever()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _port(text: str) -> int:
    """Converts the value of --port, as an argparse type."""
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port number from 0 to {_LAST_PORT}")
    return int(text)


def parser() -> Parser:
    """Returns the options of `dermedge phone`."""
    made = make_parser(
        "phone",
        "Build a web app that classifies photos on a phone, or serve a built app. The app works without a network.",
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
        description="Write a web app that classifies photos on the phone itself and works without a network. The app "
        "is a folder of plain files. Any web server with HTTPS can serve it. Needs Node.js 20 or newer with npm.",
        epilog=examples_epilog(_BUILD_EXAMPLES),
    )
    building.set_defaults(run=_build)
    building.add_argument("folder", type=Path, metavar="OUT", help="Write the app into this new folder.")
    building.add_argument(
        "--model",
        type=model_path,
        default=DEFAULT_MODEL,
        help="Put this model into the app. MODEL is an int8 .tflite file that `dermedge convert` wrote, or the name of "
        f"a shipped model ({', '.join(SHIPPED)}).",
    )


def _add_serve(commands: argparse._SubParsersAction[Parser]) -> None:
    serving = commands.add_parser(
        "serve",
        help="serve a built app to a browser",
        description="Serve a built app until Ctrl-C. Without --host, only browsers on this machine can open the app. "
        "With --host, phones on the network can open the app over HTTPS. The command then prints a QR code. The code "
        "leads to a page that tells how to open the app on a phone.",
        epilog=examples_epilog(_SERVE_EXAMPLES),
    )
    serving.set_defaults(run=_serve)
    serving.add_argument(
        "folder", type=Path, metavar="OUT", help="Serve the app that `phone build` wrote into this folder."
    )
    serving.add_argument(
        "--host",
        metavar="ADDRESS",
        help="Serve the app to phones over HTTPS, at this IP address or host name of this machine. Needs the extra "
        "dermedge[phone].",
    )
    serving.add_argument(
        "--port",
        type=_port,
        default=8000,
        help="Serve the app on this port. With --host, the next port serves the page that explains how a phone can "
        "trust this machine. Default: 8000.",
    )
