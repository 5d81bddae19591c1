#!/usr/bin/env python3
"""mesos-executor: what an agent runs for a task that has a command and no executor of its own.

Mesos' own is in no package. This one runs one task over the v1 executor API (mesos: docs/executor-http-api.md), and stays with it
when the agent goes away and comes back, which it may when the framework asked for checkpoints.
"""

import base64
import http.client
import json
import os
import signal
import subprocess
import threading
import time
import uuid

AGENT = os.environ["MESOS_AGENT_ENDPOINT"]
FRAMEWORK = {"value": os.environ["MESOS_FRAMEWORK_ID"]}
EXECUTOR = {"value": os.environ["MESOS_EXECUTOR_ID"]}
CHECKPOINT = os.environ.get("MESOS_CHECKPOINT") == "1"
# How long the agent may stay away, and a task may take to end when it is told to, in seconds.
RECOVERY = 60
GRACE = 3


def post(call):
    """Sends a call; returns the connection, which is the subscription when it was one, and the answer."""
    connection = http.client.HTTPConnection(AGENT)
    body = json.dumps({**call, "framework_id": FRAMEWORK, "executor_id": EXECUTOR})
    connection.request("POST", "/api/v1/executor", body, {"Content-Type": "application/json", "Accept": "application/json"})
    answer = connection.getresponse()
    if answer.status not in (200, 202):
        raise ConnectionError(f"{call['type']}: {answer.status} {answer.read().decode()}")
    return connection, answer


def records(answer):
    """The events of a subscription, each after its length."""
    while length := answer.readline():
        yield json.loads(answer.read(int(length)))


class Executor:
    """The state of the only task."""

    def __init__(self):
        self.lock = threading.Lock()
        self.task = None
        self.process = None
        self.killed = False
        # What the agent has not acknowledged, and so wants to hear again after its recovery.
        self.updates = {}
        self.over = False

    def subscribe(self):
        """Subscribes and returns the answer; tries for as long as the agent may stay away."""
        begun = time.monotonic()
        while True:
            tasks = [self.task] if self.task and not self.over else []
            subscribe = {"unacknowledged_tasks": tasks, "unacknowledged_updates": list(self.updates.values())}
            try:
                return post({"type": "SUBSCRIBE", "subscribe": subscribe})
            except (OSError, http.client.HTTPException):
                if not CHECKPOINT or time.monotonic() - begun > RECOVERY:
                    raise
                time.sleep(0.1)

    def update(self, state, message=""):
        """Tells the agent of the task's state; what does not get through is told again with the next subscription."""
        token = base64.b64encode(uuid.uuid4().bytes).decode()
        status = {"task_id": self.task["task_id"], "state": state, "source": "SOURCE_EXECUTOR", "uuid": token, "message": message}
        with self.lock:
            self.updates[token] = {"status": {**status, "executor_id": EXECUTOR, "timestamp": time.time()}}
        try:
            post({"type": "UPDATE", "update": self.updates[token]})
        except (OSError, http.client.HTTPException) as error:
            print(f"the agent was not told of {state}: {error}", flush=True)

    def launch(self, task):
        """Starts the command of a task."""
        self.task, command = task, task["command"]
        arguments = ["/bin/sh", "-c", command["value"]] if command.get("shell", True) else command["arguments"]
        program = None if command.get("shell", True) else command["value"]
        self.process = subprocess.Popen(arguments, executable=program, start_new_session=True)
        self.update("TASK_RUNNING")
        threading.Thread(target=self.reap, daemon=True).start()

    def reap(self):
        """Waits for the end of the command and tells of it."""
        status = self.process.wait()
        self.over = True
        if self.killed:
            self.update("TASK_KILLED")
        else:
            self.update("TASK_FAILED" if status else "TASK_FINISHED", f"the command ended with {status}")

    def kill(self):
        """Ends the command, if need be by force."""
        self.killed = True

        def send(number):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)

        send(signal.SIGTERM)
        force = threading.Timer(GRACE, send, [signal.SIGKILL])
        force.daemon = True
        force.start()

    def run(self):
        """Does as the agent says until the end of the task is acknowledged, or the agent is gone for good."""
        while True:
            connection, answer = self.subscribe()
            for event in records(answer):
                if event["type"] == "LAUNCH":
                    self.launch(event["launch"]["task"])
                elif event["type"] == "KILL":
                    self.kill()
                elif event["type"] == "ACKNOWLEDGED":
                    with self.lock:
                        self.updates.pop(event["acknowledged"]["uuid"], None)
                    if self.over and not self.updates:
                        return
                elif event["type"] == "SHUTDOWN":
                    if self.process:
                        self.kill()
                        self.process.wait()
                    return
            connection.close()
            if not CHECKPOINT:
                return


Executor().run()
