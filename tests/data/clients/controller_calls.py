"""The calls that AWX's controller makes of a node, made again: control-protocol 2.4, through receptorctl's own library.

    controller_calls.py SETTINGS.json

Each part prints its name when every answer in it was one that the controller can use; the first one that is not ends the
program with exit code 1 and the words of what was expected. SETTINGS.json:

    socket      the control socket of the controller's own node
    config      that node's configuration file, which the controller reads and rewrites itself
    node        where work goes: "localhost", or the name of another node
    tls_client  name of the tls-client for that node, or null
    peer        address of another node to which the rewritten file adds a link, and its name: [ADDRESS, NAME], or null
    kubernetes  null, or {"kubeconfig": FILE, "pods": {"good": ..., "absent": ..., "refused": ... or null}}, pod definitions
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time

import yaml
from receptorctl.socket_interface import ReceptorControl

# Far above what a loaded machine needs: only a fault reaches it.
PATIENCE = 60.0
# Time in which a node that has just come is advertised: receptor tells of its services once a minute.
ADVERTISED = 130.0
# Pause between two looks; the controller's is half a second and more.
LOOK_AGAIN = 0.05
PIECE = b"0123456789abcdef" * 4096
PIECES = 24


class Unusable(Exception):
    """An answer that the controller could not use."""


def expect(condition, *words):
    if not condition:
        raise Unusable(" ".join(str(word) for word in words))


class Controller:
    def __init__(self, settings):
        self.settings = settings
        self.node = settings["node"]
        self.remote = self.node != "localhost"

    @contextlib.contextmanager
    def connected(self):
        """A connection of its own for each call or two, as the controller has them."""
        control = ReceptorControl(self.settings["socket"])
        try:
            yield control
        finally:
            control.close()

    def ask(self, command):
        with self.connected() as control:
            return control.simple_command(command)

    def submit(self, worktype, payload, params=None, **options):
        options.setdefault("node", self.node)
        if options["node"] != "localhost":
            options.setdefault("tlsclient", self.settings["tls_client"])
        with self.connected() as control:
            return control.submit_work(worktype=worktype, payload=payload, params=params, **options)

    def submitted(self, worktype, payload, params=None, **options):
        answer = self.submit(worktype, payload, params, **options)
        expect(answer.get("result") in ("Job Started", "Job Submitted"), "the answer to a submit:", answer)
        return answer["unitid"]

    def status(self, unit):
        status = self.ask(f"work status {unit}")
        for key in ("State", "StateName", "Detail", "StdoutSize", "WorkType", "ExtraData"):
            expect(key in status, "no", key, "in", status)
        return status

    def ended(self, unit):
        """Asks until the unit is neither pending nor running, as the controller does."""
        end = time.monotonic() + PATIENCE
        while True:
            status = self.status(unit)
            if status["StateName"] not in ("Pending", "Running"):
                return status
            expect(time.monotonic() < end, unit, "has not ended:", status)
            time.sleep(LOOK_AGAIN)

    def listed(self, unit):
        """The unit's line in the list, in which the controller looks at every unit there is."""
        units = self.ask("work list")
        for status in units.values():
            extra = status["ExtraData"]
            expect(extra is None or isinstance(extra, (str, dict)), "ExtraData is", extra)
        return units.get(unit)

    def open_results(self, unit, start=0):
        with self.connected() as control:
            return control.get_work_results(unit, startpos=start, return_socket=True, return_sockfile=True)

    def results(self, unit, start=0):
        """Everything up to the end of the stream, which must come."""
        connection, file = self.open_results(unit, start)
        with connection, file:
            connection.settimeout(PATIENCE)
            return file.read()

    def release(self, unit):
        answer = self.ask(f"work release {unit}")
        expect(answer == {"released": unit}, "the answer to a release:", answer)
        end = time.monotonic() + PATIENCE
        # A unit on another node goes when that node has confirmed it.
        while self.listed(unit) is not None:
            expect(time.monotonic() < end, unit, "is still listed")
            time.sleep(LOOK_AGAIN)


class Background(threading.Thread):
    """A call that blocks, beside which others are made."""

    def __init__(self, call):
        super().__init__(daemon=True)
        self.call, self.value, self.error = call, None, None
        self.start()

    def run(self):
        try:
            self.value = self.call()
        except BaseException as error:  # handed to whoever asks for the value
            self.error = error

    def answer(self):
        self.join(PATIENCE)
        expect(not self.is_alive(), "a call has not come back")
        if self.error is not None:
            raise self.error
        return self.value


def where_work_can_go(controller):
    """`status`: each advertisement names its node and says whether its control service wants TLS."""
    end = time.monotonic() + ADVERTISED
    while True:
        status = controller.ask("status")
        node = controller.node if controller.remote else status["NodeID"]
        services = {ad["NodeID"]: ad["ConnType"] for ad in status["Advertisements"]}
        if node in services:
            break
        expect(time.monotonic() < end, node, "is not advertised in", services)
        time.sleep(LOOK_AGAIN)
    wants_tls = services[node] == 2
    expect(wants_tls == bool(controller.settings["tls_client"]), node, "has the connection type", services[node])


def slow_payload(controller):
    """A payload that trickles in through a pipe, and answers about the unit all the while."""
    known = set(controller.ask("work list"))
    reader, writer = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb")))
    params = {"params": "-c cat"}
    submit = Background(lambda: controller.submitted("local", reader, params, signwork=True))
    unit, end = None, time.monotonic() + PATIENCE
    while unit is None:
        fresh = set(controller.ask("work list")) - known
        unit = fresh.pop() if fresh else None
        expect(time.monotonic() < end and submit.error is None, "the unit is not listed:", submit.error)
        time.sleep(LOOK_AGAIN)
    for _ in range(PIECES):
        status = controller.status(unit)
        expect(status["StateName"] == "Pending", "the unit has begun without all of its payload:", status)
        writer.write(PIECE)
        writer.flush()
    writer.close()
    expect(submit.answer() == unit, "another unit was answered")

    output = Background(lambda: controller.results(unit))
    status = controller.ended(unit)
    payload = PIECE * PIECES
    expect(status["StateName"] == "Succeeded", status)
    expect(output.answer() == payload, "the results are not what was sent")
    expect(controller.results(unit, len(payload) - 5) == payload[-5:], "the end of the results, asked for alone")
    expect(controller.status(unit)["StdoutSize"] == len(payload), status)
    remote_extra(controller, unit, "local", params["params"])
    controller.release(unit)


def remote_extra(controller, unit, worktype, params):
    """What `work list` says of a unit on another node."""
    status = controller.listed(unit)
    expect(status is not None, unit, "is not listed")
    if not controller.remote:
        expect(status["WorkType"] == worktype, status)
        return
    extra = status["ExtraData"]
    expect(extra["RemoteWorkType"] == worktype, extra)
    expect(extra["RemoteParams"]["params"] == params, extra)


def failure(controller):
    """A job that fails: its results are read to their end afterwards, for the words in them."""
    params = {"params": "-c 'cat; echo unrecognized arguments: --worker-info; exit 2'"}
    unit = controller.submitted("local", "before\n", params, signwork=True)
    status = controller.ended(unit)
    expect(status["StateName"].lower() == "failed", status)
    expect("exceeded quota" not in status["Detail"], status)
    expect(status["Detail"] == "exit status 2", status)
    text = controller.results(unit)
    expect(text == b"before\nunrecognized arguments: --worker-info\n", "results after the failure:", text)
    controller.release(unit)


def cancel(controller):
    """A running job that is cancelled while its results are read."""
    unit = controller.submitted("local", b"", {"params": "-c 'echo begun; exec sleep 1000'"}, signwork=True)
    connection, file = controller.open_results(unit)
    connection.settimeout(PATIENCE)
    expect(file.readline() == b"begun\n", "the job does not say that it has begun")
    answer = controller.ask(f"work cancel {unit}")
    expect(answer == {"cancelled": unit}, "the answer to a cancel:", answer)
    status = controller.ended(unit)
    expect(status["StateName"] == "Canceled", status)
    # The controller shuts its own side down, whatever the node does.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    file.close()
    connection.close()
    expect(controller.results(unit) == b"begun\n", "results of a cancelled unit, to their end")
    controller.release(unit)


def health_check(controller):
    """What is asked of each node now and then: a short answer, or none before the time is over."""
    options = {"ttl": "20s"} if controller.remote else {}
    unit = controller.submitted("ansible-runner", b"", {"params": "--worker-info"}, signwork=True, **options)
    status = controller.ended(unit)
    expect(status["StateName"] == "Succeeded", status)
    told = yaml.safe_load(controller.results(unit))
    expect(told["cpu_count"] > 0, told)
    controller.release(unit)


def unknown_work(controller):
    """Refused submits raise with the node's words. What another node refuses is listed as failed, for somebody to look at."""
    before = set(controller.ask("work list"))
    for worktype, options in (("nosuch", {}), ("local", {"ttl": "20s", "node": "localhost"})):
        try:
            answer = controller.submit(worktype, b"", **options)
        except RuntimeError as error:
            expect(str(error).strip(), "an error without words")
        else:
            raise Unusable("accepted:", worktype, options, answer)
    left = [unit for unit in controller.ask("work list") if unit not in before]
    expect(len(left) == (1 if controller.remote else 0), "refused submits have left", left)
    for unit in left:
        expect(controller.status(unit)["StateName"] == "Failed", "a refused submit is not Failed")
        controller.release(unit)


def reload(controller):
    """The file is rewritten with one link more, and taken up; and back again."""
    address, name = controller.settings["peer"]
    path = controller.settings["config"]
    with open(path) as file:
        before = file.read()
    actions = yaml.safe_load(before)
    expect(isinstance(actions, list), "the configuration is no list")
    filenames = [action["control-service"]["filename"] for action in actions if "control-service" in action]
    expect(filenames == [controller.settings["socket"]], "the socket in the configuration:", filenames)
    actions.append({"tcp-peer": {"address": address, "redial": True}})
    for text, linked in ((yaml.safe_dump(actions, default_flow_style=False), True), (before, False)):
        with open(path + ".new", "w") as file:
            file.write(text)
        os.replace(path + ".new", path)
        answer = controller.ask("reload")
        expect(answer == {"Success": True}, "the answer to a reload:", answer)
        end = time.monotonic() + PATIENCE
        while (name in [link["NodeID"] for link in controller.ask("status")["Connections"]]) != linked:
            expect(time.monotonic() < end, "the link to", name, "should be", linked)
            time.sleep(LOOK_AGAIN)


def container_group(controller):
    """A pod with credentials and definition of the controller's own, which go nowhere else."""
    settings = controller.settings["kubernetes"]
    with open(settings["kubeconfig"]) as file:
        kubeconfig = file.read()

    def submitted(pod, payload, timeout):
        secrets = {"secret_kube_pod": settings["pods"][pod], "secret_kube_config": kubeconfig}
        params = {**secrets, "pod_pending_timeout": timeout}
        return controller.submitted("kubernetes-runtime-auth", payload, params, node="localhost")

    unit = submitted("good", PIECE, "2h")
    status = controller.ended(unit)
    expect(status["StateName"] == "Succeeded", status)
    expect(controller.results(unit) == b"in the pod\n" + PIECE + b"\n", "the pod's output")
    extra = controller.listed(unit)["ExtraData"]
    expect(extra["KubeConfig"] == "" and extra["KubePod"] == "", "secrets are shown")
    expect(extra["PodName"], "no pod's name in", extra)
    controller.release(unit)

    unit = submitted("absent", b"", "3s")
    status = controller.ended(unit)
    expect(status["StateName"] == "Failed", status)
    expect(status["Detail"].startswith("Error creating pod: "), status)
    controller.results(unit)
    controller.release(unit)

    if settings["pods"]["refused"]:
        unit = submitted("refused", b"", "2h")
        status = controller.ended(unit)
        expect(status["StateName"] == "Failed" and "exceeded quota" in status["Detail"], status)
        expect(controller.results(unit) == b"", "output of a pod that never was")
        controller.release(unit)


def parts(settings):
    yield from (where_work_can_go, slow_payload, failure, cancel, health_check, unknown_work)
    if settings["peer"]:
        yield reload
    if settings["kubernetes"]:
        yield container_group


def main():
    with open(sys.argv[1]) as file:
        settings = json.load(file)
    controller = Controller(settings)
    for part in parts(settings):
        try:
            part(controller)
        except (Unusable, RuntimeError, OSError, ValueError, KeyError) as error:
            print(f"{part.__name__}: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
        print(part.__name__.replace("_", " "), flush=True)
    expect_none_left = controller.ask("work list")
    if expect_none_left:
        print(f"left behind: {expect_none_left}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
