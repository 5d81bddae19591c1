# tenant.py DIRECTORY ACKNOWLEDGED: a task with a volume. It takes a lock on DIRECTORY/lock, then makes ACKNOWLEDGED, a file of its own
# machine, and writes numbers to DIRECTORY/numbers, one a line, for as long as it runs. Those that are on the server's disk, as fsync
# has said, are in ACKNOWLEDGED.
import fcntl
import os
import sys
import time

directory, acknowledged = sys.argv[1:]
lock = os.open(directory + "/lock", os.O_RDWR | os.O_CREAT)
fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
numbers = os.open(directory + "/numbers", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
said = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
n = 0
while True:
    n += 1
    line = b"%d\n" % n
    os.write(numbers, line)
    os.fsync(numbers)
    os.write(said, line)
    # The lock is one of the server's, and a lost one makes this fail.
    os.pwrite(lock, line, 0)
    time.sleep(0.1)
