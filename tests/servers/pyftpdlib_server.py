"""Runs one pyftpdlib server in the foreground; its settings are argv[1], as JSON."""

import json
import sys

from OpenSSL import SSL
from pyftpdlib import authorizers, handlers, servers


class Implicit(handlers.TLS_FTPHandler):
    """Shakes hands first and greets afterwards."""

    def handle(self):
        self.secure_connection(self.ssl_context)

    def handle_ssl_established(self):
        handlers.FTPHandler.handle(self)


def make_handler(conf):
    if conf["implicit"]:
        base = Implicit
    else:
        base = handlers.TLS_FTPHandler if conf["tls"] else handlers.FTPHandler
    users = authorizers.DummyAuthorizer()
    users.add_user(conf["user"], conf["password"], conf["root"], perm=conf["permissions"])

    class Handler(base):
        authorizer = users
        timeout = conf["idle_s"]
        passive_ports = range(conf["passive"][0], conf["passive"][1] + 1)
        proto_cmds = {k: v for k, v in base.proto_cmds.items() if k not in conf["without"]}

    if conf["tls"]:
        Handler.certfile, Handler.keyfile = conf["certificate"], conf["key"]
        Handler.tls_control_required = Handler.tls_data_required = True
        context = Handler.get_ssl_context()
        # Without a name of its own OpenSSL resumes no session.
        context.set_session_id(b"test")
        if conf["tls12_only"]:
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
    return Handler


def main():
    conf = json.loads(sys.argv[1])
    server = servers.FTPServer((conf["host"], conf["port"]), make_handler(conf))
    server.max_cons_per_ip = conf["clients_max"]
    server.serve_forever()


main()
