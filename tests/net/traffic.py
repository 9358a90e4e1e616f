#!/usr/bin/env python3
"""Traffic that no common tool makes, for tests/net/tn_*.sh.

echo PORT                        answers UDP datagrams with themselves, from the address they went to
stream ADDRESS PORT FILE         a numbered datagram every 10 ms; FILE has "SENT RECEIVED" of answers,
                                 written anew all the time, until SIGINT: then half a second more
whole ADDRESS PORT BYTES         one datagram of that size; the very bytes have to come back in 4 s
spoof SOURCE ADDRESS PORT COUNT  UDP datagrams from an address that is not ours
flood ADDRESS FIRST LAST [SECONDS]  TCP connections to each of these ports that nobody answers, for
                                 that long; prints how many were begun
sockets ADDRESS PORT COUNT       UDP sockets that each ask twice; prints how many were answered
mirror PORT                      answers UDP datagrams with the address and port that they came from
listen PORT FILE ADDRESS...      asks mirrors at that port from one UDP socket until all have answered, then
                                 waits for more; FILE has a line "SOURCE SAYS" of each source and datagram
say SOURCE ADDRESS PORT TEXT     one UDP datagram from an address of ours
refused ADDRESS PORT             one UDP datagram, and the ICMP error about it has to come in 4 s
"""
import errno
import os
import resource
import select
import signal
import socket
import struct
import sys
import time

IP_PKTINFO = 8


def answer_all(port, text):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.bind(("0.0.0.0", int(port)))
    while True:
        data, ancillary, _, who = s.recvmsg(65536, 64)
        _, _, info = ancillary[0]
        _, _, to = struct.unpack("I4s4s", info)
        source = (socket.IPPROTO_IP, IP_PKTINFO, struct.pack("I4s4s", 0, to, to))
        try:
            s.sendmsg([text(data, who)], [source], 0, who)
        except OSError:  # it has gone, or nobody leads there any more
            pass


def echo(port):
    answer_all(port, lambda data, who: data)


def mirror(port):
    answer_all(port, lambda data, who: f"{who[0]}:{who[1]}".encode())


def listen(port, file, *addresses):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    waiting, lines = set(addresses), []
    while True:
        for address in waiting:
            s.sendto(b"?", (address, int(port)))
        if not select.select([s], [], [], 0.5 if waiting else None)[0]:
            continue
        data, who = s.recvfrom(65536)
        line = f"{who[0]} {data.decode()}"
        waiting.discard(who[0])
        if line not in lines:
            lines.append(line)
        with open(file + ".new", "w") as f:
            f.write("".join(x + "\n" for x in lines))
        os.rename(file + ".new", file)


def say(source, address, port, text):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((source, 0))
    s.sendto(text.encode(), (address, int(port)))


def refused(address, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((address, int(port)))
    s.settimeout(4)
    s.send(b"x")
    try:
        s.recv(64)
    except ConnectionRefusedError:
        sys.exit(0)
    except OSError:
        pass
    sys.exit(1)


def stream(address, port, file):
    ends = []
    signal.signal(signal.SIGINT, lambda *_: ends.append(time.monotonic() + 0.5))
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((address, int(port)))
    s.setblocking(False)
    sent, seen, due = 0, set(), time.monotonic()
    while not ends or time.monotonic() < ends[0]:
        if not ends and time.monotonic() >= due:
            due += 0.01
            try:
                s.send(struct.pack("I", sent))
                sent += 1
            except OSError:  # an ICMP error about one before
                pass
        if select.select([s], [], [], 0.002)[0]:
            try:
                seen.add(s.recv(64))
            except OSError:
                pass
        if sent % 5 == 0 or ends:
            with open(file + ".new", "w") as f:
                f.write(f"{sent} {len(seen)}\n")
            os.rename(file + ".new", file)


def whole(address, port, size):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((address, int(port)))
    s.settimeout(4)
    data = os.urandom(int(size))
    s.send(data)
    sys.exit(0 if s.recv(65536) == data else 1)


def spoof(source, address, port, count):
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    udp = struct.pack(">HHHH", 4000, int(port), 12, 0) + b"spoo"
    ends = socket.inet_aton(source) + socket.inet_aton(address)
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + ends
    for _ in range(int(count)):
        s.sendto(ip + udp, (address, 0))
        time.sleep(0.005)


def flood(address, first, last, seconds="0"):
    begun, held, until = 0, [], time.monotonic() + float(seconds)
    while True:
        for port in range(int(first), int(last) + 1):
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            s.setblocking(False)
            begun += s.connect_ex((address, port)) == errno.EINPROGRESS
            held.append(s)
            if len(held) > 900:
                held.pop(0).close()
            time.sleep(0.0005)
        if time.monotonic() >= until:
            break
    print(begun)


def sockets(address, port, count):
    answered, held = 0, []
    for _ in range(int(count)):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.connect((address, int(port)))
        s.settimeout(1)
        held.append(s)
        for _ in range(2):
            try:
                s.send(b"x")
                s.recv(64)
                answered += 1
                break
            except OSError:
                pass
    print(answered)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    commands = (echo, stream, whole, spoof, flood, sockets, mirror, listen, say, refused)
    {f.__name__: f for f in commands}[sys.argv[1]](*sys.argv[2:])
