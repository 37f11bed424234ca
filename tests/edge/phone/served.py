"""`dermedge` with the arguments given, whose web server prints the breaches of its policy."""

import sys
from http.server import BaseHTTPRequestHandler

from dermedge import cli
from dermedge.edge.phone.serve import HEADERS


def print_report(handler: BaseHTTPRequestHandler) -> None:
    """A line "report" and the report's JSON."""
    body = handler.rfile.read(int(handler.headers["Content-Length"]))
    print("report", body.decode(), flush=True)
    handler.send_response(204)
    handler.end_headers()


# to the same origin, which the policy and the service worker let through
HEADERS["Content-Security-Policy"] += "; report-uri /report"
BaseHTTPRequestHandler.do_POST = print_report  # type: ignore[attr-defined]
sys.exit(cli.main(sys.argv[1:]))
