#!/usr/bin/env python3
"""A framework for Apache Mesos that keeps the nodes of a cluster alive, each with a volume of its own.

    nodes.py --master http://master:5050 --nodes 3 --state /var/lib/es/nodes.json -- 'exec bin/node --id "$NODE_ID" --data data'

Nodes have ids, 0 to N-1. Node 2 has the volume `<name>-data-2`, wherever it runs: Hawser makes it for the first task of the node, and
brings it, with its data, to every later one. The framework itself never looks where a volume is, and never waits for one: a task
whose volume cannot be had yet fails, and is launched again.

It needs nothing but Python. What it remembers is in one file: the id that Mesos gave it, and the tasks of each node. A framework that
is started again with this file takes its tasks over. For more than one scheduler put the file's content where your leader election is.
"""

import argparse
import http.client
import json
import os
import queue
import sys
import threading
import time
import urllib.parse
import uuid

# After these a task does nothing more.
OVER = {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_DROPPED", "TASK_GONE", "TASK_GONE_BY_OPERATOR"}
# After these nobody knows. It is replaced, and the volume goes to the one that replaces it only when Hawser knows the other one dead.
LOST = {"TASK_UNREACHABLE", "TASK_UNKNOWN", "TASK_LOST"}
# How long a node that fails again and again waits for its next task, and how long a task must run to count as well, in seconds.
FIRST_PAUSE, LONGEST_PAUSE, WELL = 0.5, 60, 60
# How long the master may be silent, in heartbeats.
HEARTBEATS = 4
# How often Mesos is asked what became of the tasks, in seconds.
RECONCILE = 60
# For how long Mesos keeps the tasks of a framework that is away, in seconds.
FAILOVER = 7 * 24 * 3600


def log(text):
    print(time.strftime("%H:%M:%S"), text, flush=True)


class Master:
    """The leading master's scheduler API (mesos: docs/scheduler-http-api.md)."""

    def __init__(self, url):
        self.address, self.stream, self.framework = urllib.parse.urlsplit(url).netloc, None, None

    def post(self, call, timeout):
        """Sends a call to the leader; returns the connection and its answer."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.stream:
            headers["Mesos-Stream-Id"] = self.stream
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        connection.request("POST", "/api/v1/scheduler", json.dumps(call), headers)
        answer = connection.getresponse()
        if answer.status == 307:
            self.address = urllib.parse.urlsplit(answer.headers["Location"]).netloc
            raise ConnectionError(f"the leader is {self.address}")
        if answer.status not in (200, 202):
            raise ConnectionError(f"{call['type']}: {answer.status} {answer.read().decode(errors='replace')}")
        return connection, answer

    def call(self, kind, body=None):
        """A call that is answered at once."""
        call = {"type": kind, "framework_id": {"value": self.framework}}
        if body is not None:
            call[kind.lower()] = body
        self.post(call, 10)[0].close()

    def events(self, info):
        """Subscribes and gives every event until the connection ends."""
        self.stream = None
        call = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        if "id" in info:
            call["framework_id"] = info["id"]
        connection, answer = self.post(call, 60)
        self.stream = answer.headers["Mesos-Stream-Id"]
        while length := answer.readline():
            event = json.loads(answer.read(int(length)))
            if event["type"] == "SUBSCRIBED":
                subscribed = event["subscribed"]
                self.framework = subscribed["framework_id"]["value"]
                connection.sock.settimeout(HEARTBEATS * subscribed.get("heartbeat_interval_seconds", 15))
            yield event
        raise ConnectionError("the master has ended the subscription")


class Node:
    """A node of the cluster: the task that is it now, and those before it that may still run."""

    def __init__(self, record):
        self.task, self.agent, self.lost = record.get("task"), record.get("agent"), record.get("lost", {})
        self.pause, self.due, self.since = FIRST_PAUSE, 0, time.monotonic()

    def record(self):
        return {"task": self.task, "agent": self.agent, "lost": self.lost}

    def ended(self, well):
        """Its task is no more; the next one waits if this one did not run for long."""
        now = time.monotonic()
        if well or now - self.since > WELL:
            self.pause = FIRST_PAUSE
        self.due = now + self.pause
        self.pause = min(2 * self.pause, LONGEST_PAUSE)
        self.task = self.agent = None


class Scheduler:
    """Keeps all nodes alive."""

    def __init__(self, options):
        self.options, self.master, self.quiet, self.reconciled = options, Master(options.master), False, 0
        saved = {}
        if os.path.exists(options.state):
            with open(options.state, encoding="utf-8") as file:
                saved = json.load(file)
        self.id, records = saved.get("framework"), saved.get("nodes", [])
        if len(records) > options.nodes:
            sys.exit(f"{options.state} has {len(records)} nodes; this cluster never shrinks: say --nodes {len(records)} or more")
        self.nodes = [Node(record) for record in records + [{}] * (options.nodes - len(records))]

    def save(self):
        """Remembers everything before anything is done that rests on it."""
        new = self.options.state + ".new"
        with open(new, "w", encoding="utf-8") as file:
            json.dump({"framework": self.id, "nodes": [node.record() for node in self.nodes]}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.options.state)
        directory = os.open(os.path.dirname(os.path.abspath(self.options.state)), os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)

    def info(self):
        capabilities = [{"type": kind} for kind in ("MULTI_ROLE", "PARTITION_AWARE", "RESERVATION_REFINEMENT")]
        info = {"user": "root", "name": self.options.name, "roles": [self.options.role], "checkpoint": True,
                "failover_timeout": FAILOVER, "capabilities": capabilities}
        return {**info, "id": {"value": self.id}} if self.id else info

    def volume(self, number):
        """What the node says of its volume: a name, and what it is if it must be made."""
        name, options = f"{self.options.name}-data-{number}", self.options
        wishes = {"size": options.size, **dict(wish.split("=", 1) for wish in options.volume_option)}
        if options.through == "docker-volume":
            parameters = [{"key": key, "value": value} for key, value in {**wishes, "fsType": options.fs_type}.items()]
            volume = {"driver": options.driver, "name": name, "driver_options": {"parameter": parameters}}
            source = {"type": "DOCKER_VOLUME", "docker_volume": volume}
        else:
            capability = {"mount": {"fs_type": options.fs_type}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}}
            # With `create` in its context the id is a name (docs/declarations.md).
            static = {"volume_id": name, "volume_capability": capability, "volume_context": {"create": "if-absent", **wishes}}
            source = {"type": "CSI_VOLUME", "csi_volume": {"plugin_name": options.plugin, "static_provisioning": static}}
        return {"container_path": "data", "mode": "RW", "source": source}

    def task(self, number, task, agent):
        """The task that is node `number`."""
        environment = [{"name": key, "value": value} for key, value in (("NODE_ID", str(number)), ("TASK_ID", task))]
        needs = (("cpus", self.options.cpus), ("mem", self.options.mem))
        return {
            "name": f"{self.options.name}-{number}",
            "task_id": {"value": task},
            "agent_id": {"value": agent},
            "resources": [{"name": name, "type": "SCALAR", "scalar": {"value": value}} for name, value in needs],
            "command": {"value": self.options.command, "environment": {"variables": environment}},
            "container": {"type": "MESOS", "volumes": [self.volume(number)]},
        }

    def place(self, number, offers):
        """An offer for the node, of the agent with the fewest others. Where a task of the node may still run, none is started: on
        one agent the two would share the volume."""
        def room(offer):
            has = {"cpus": 0, "mem": 0}
            for resource in offer["resources"]:
                if resource["name"] in has and "revocable" not in resource:
                    has[resource["name"]] += resource["scalar"]["value"]
            return has["cpus"] >= self.options.cpus and has["mem"] >= self.options.mem

        fit = [offer for offer in offers if offer["agent_id"]["value"] not in self.nodes[number].lost.values() and room(offer)]
        load = [node.agent for node in self.nodes]
        return min(fit, key=lambda offer: load.count(offer["agent_id"]["value"]), default=None)

    def wanting(self):
        """The nodes that are to get a task now."""
        return [number for number, node in enumerate(self.nodes) if not node.task and node.due <= time.monotonic()]

    def offered(self, offers):
        """Uses offers, one task each, and gives the others back."""
        chosen = {}
        for number in self.wanting():
            if offer := self.place(number, offers):
                offers.remove(offer)
                node, agent = self.nodes[number], offer["agent_id"]["value"]
                node.task, node.agent, node.since = f"{self.options.name}-{number}-{uuid.uuid4()}", agent, time.monotonic()
                chosen[number] = offer["id"]
        if chosen:
            self.save()
        for number, offer in chosen.items():
            node = self.nodes[number]
            log(f"node {number}: task {node.task} on agent {node.agent}")
            launch = {"type": "LAUNCH", "launch": {"task_infos": [self.task(number, node.task, node.agent)]}}
            self.master.call("ACCEPT", {"offer_ids": [offer], "operations": [launch], "filters": {"refuse_seconds": 0}})
        if offers:
            self.master.call("DECLINE", {"offer_ids": [offer["id"] for offer in offers], "filters": {"refuse_seconds": 5}})
        if not self.wanting():
            self.master.call("SUPPRESS")
            self.quiet = True

    def updated(self, status):
        """Hears of a task."""
        task, state = status["task_id"]["value"], status["state"]
        number = int(task.removeprefix(f"{self.options.name}-").split("-")[0])
        node = self.nodes[number]
        log(f"node {number}: {state} {task} {status.get('message', '')}")
        if state in OVER or state in LOST:
            if state in LOST and (task == node.task or task in node.lost):
                node.lost[task] = node.agent if task == node.task else node.lost[task]
            else:
                node.lost.pop(task, None)
            if task == node.task:
                node.ended(state == "TASK_FINISHED")
        elif task in node.lost and not node.task:
            # It is back before it was replaced.
            node.task, node.agent = task, node.lost.pop(task)
        elif task != node.task:
            self.master.call("KILL", {"task_id": {"value": task}, "agent_id": status["agent_id"]})
        self.save()
        if "uuid" in status:
            self.master.call("ACKNOWLEDGE", {key: status[key] for key in ("agent_id", "task_id", "uuid")})

    def subscribed(self):
        """Is a framework from now on."""
        self.id, self.quiet = self.master.framework, False
        self.save()
        log(f"subscribed as {self.id}")
        self.reconcile()

    def reconcile(self):
        """Asks what became of every task that is on record: Mesos does not promise that every update arrives."""
        self.reconciled = time.monotonic()
        known = [(task, agent) for node in self.nodes for task, agent in [(node.task, node.agent), *node.lost.items()] if task]
        if known:
            tasks = [{"task_id": {"value": task}, "agent_id": {"value": agent}} for task, agent in known]
            self.master.call("RECONCILE", {"tasks": tasks})

    def handle(self, event):
        """Does what an event asks for."""
        kind = event["type"]
        if kind == "SUBSCRIBED":
            self.subscribed()
        elif kind == "OFFERS":
            self.offered(event["offers"]["offers"])
        elif kind == "UPDATE":
            self.updated(event["update"]["status"])
        elif kind == "ERROR":
            sys.exit(f"the master refuses the framework {self.id}: {event['error']['message']}")

    def listen(self, events):
        """Puts every event, and the end of the subscription, into `events`."""
        try:
            for event in self.master.events(self.info()):
                events.put(event)
        except Exception as error:  # pylint: disable=broad-exception-caught  # whoever waits for events raises it
            events.put(error)

    def session(self):
        """Works until the connection to the master ends."""
        events = queue.Queue()
        threading.Thread(target=self.listen, args=[events], daemon=True).start()
        while True:
            try:
                event = events.get(timeout=0.2)
            except queue.Empty:
                if self.quiet and self.wanting():
                    self.quiet = False
                    self.master.call("REVIVE")
                if self.master.framework and time.monotonic() - self.reconciled > RECONCILE:
                    self.reconcile()
                continue
            if isinstance(event, Exception):
                raise event
            self.handle(event)

    def run(self):
        """Works for ever."""
        while True:
            try:
                self.session()
            except (OSError, http.client.HTTPException, ValueError) as error:
                log(f"no master: {error}")
                time.sleep(1)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--master", required=True, help="any master, as http://host:port")
    parser.add_argument("--nodes", type=int, required=True, help="how many nodes there are")
    parser.add_argument("--state", required=True, help="the file of what must survive a restart")
    parser.add_argument("--name", default="es", help="of the framework, and what its volumes' names begin with")
    parser.add_argument("--role", default="*")
    parser.add_argument("--through", choices=("docker-volume", "csi"), default="csi", help="which of Mesos' isolators has the volumes")
    parser.add_argument("--driver", default="hawser", help="what docker/volume calls Hawser")
    parser.add_argument("--plugin", default="csi.hawser.dev", help="what volume/csi calls Hawser")
    parser.add_argument("--size", default="10GiB", help="of each volume, exactly")
    parser.add_argument("--fs-type", default="ext4")
    parser.add_argument("--volume-option", action="append", default=[], metavar="KEY=VALUE", help="backend, takeover and the like")
    parser.add_argument("--cpus", type=float, default=1)
    parser.add_argument("--mem", type=float, default=1024, help="MiB")
    parser.add_argument("--show", action="store_true", help="print the first task and do nothing, for `hawser mesos plan -`")
    parser.add_argument("--teardown", action="store_true", help="end all tasks and the framework; the volumes stay")
    parser.add_argument("command", help="what a node runs, a piece of shell; $NODE_ID says which node")
    return parser.parse_args()


def main():
    scheduler = Scheduler(arguments())
    if scheduler.options.show:
        print(json.dumps(scheduler.task(0, "first", ""), indent=2))
    elif scheduler.options.teardown:
        for event in scheduler.master.events(scheduler.info()):
            if event["type"] == "SUBSCRIBED":
                scheduler.master.call("TEARDOWN")
                os.remove(scheduler.options.state)
                return
    else:
        scheduler.run()


if __name__ == "__main__":
    main()
