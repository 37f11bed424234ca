"""`dermedge` with the arguments given, whose web server prints the breaches of its policy."""

import sys
from http.server import BaseHTTPRequestHandler

from dermedge import cli
from dermedge.edge.phone.serve import HEADERS


def print_report(handler: BaseHTTPRequestHandler) -> None:
    """Prints a line with "report" and the JSON of the report."""
    body = handler.rfile.read(int(handler.headers["Content-Length"]))
    print("report", body.decode(), flush=True)
    handler.send_response(204)
    handler.end_headers()


# The reports go to the same origin, because the policy and the service worker allow only requests to it.
HEADERS["Content-Security-Policy"] += "; report-uri /report"
BaseHTTPRequestHandler.do_POST = print_report  # type: ignore[attr-defined]
sys.exit(cli.main(sys.argv[1:]))
