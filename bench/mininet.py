"""Builds hosts on one Linux bridge with Mininet, and prints how long it took.

usage: mininet.py HOSTS; prints "up SECONDS" and "down SECONDS".
"""
import sys
import time

from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo

hosts = int(sys.argv[1])
start = time.time()
net = Mininet(topo=SingleSwitchTopo(k=hosts), switch=LinuxBridge, controller=None, autoSetMacs=True)
net.start()
print("up", time.time() - start, flush=True)
start = time.time()
net.stop()
print("down", time.time() - start, flush=True)
