"""Runs a Python program in which port 8080 of this machine stands for another: there the hosted service's clients look
for a server in their dev mode, and somebody's may be running.

argv: the port, the program, its arguments.
"""

import runpy
import sys

import requests

port, program, *words = sys.argv[1:]
send = requests.Session.request


def send_elsewhere(session, method, url, **how):
    return send(session, method, url.replace("//localhost:8080/", f"//localhost:{port}/"), **how)


requests.Session.request = send_elsewhere
sys.argv = [program, *words]
runpy.run_path(program, run_name="__main__")
