"""The `openssl` program: a second opinion on keys that does not come from the code under test."""

import subprocess


def openssl(command, input=None):
    """What `openssl command` prints."""
    done = subprocess.run(["openssl", *command.split()], input=input, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def public_of(pem):
    """The public key of a private one."""
    return openssl("pkey -pubout", pem)


def one_line(pem):
    r"""As people put a key into an environment variable: one line, with \n for the line ends."""
    return pem.strip().replace("\n", "\\n")
