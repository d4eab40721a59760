"""Runs a program and writes what it says as a container runtime would: one stamped line for each, CRI or json-file."""
import datetime, json, os, selectors, signal, subprocess, sys, time

def main():
    out, form, lines_max, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    child = subprocess.Popen(sys.argv[5:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             start_new_session=True)
    selector = selectors.DefaultSelector()
    for pipe, name in ((child.stdout, "stdout"), (child.stderr, "stderr")):
        os.set_blocking(pipe.fileno(), False)
        selector.register(pipe, selectors.EVENT_READ, [name, b""])
    end, written = time.monotonic() + seconds, 0
    with open(out, "wb", buffering=0) as file:
        while selector.get_map() and written < lines_max and time.monotonic() < end:
            for key, _ in selector.select(0.5):
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fileobj)
                    continue
                name, rest = key.data
                now = time.time_ns()
                stamp = datetime.datetime.fromtimestamp(now // 10**9, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
                stamp += ".%09dZ" % (now % 10**9)
                *whole, key.data[1] = (rest + data).split(b"\n")
                for line in whole:
                    if written >= lines_max:
                        break
                    written += 1
                    if form == "cri":
                        file.write(b"%s %s F %s\n" % (stamp.encode(), name.encode(), line))
                    else:
                        text = line.decode("utf-8", "replace") + "\n"
                        file.write((json.dumps({"log": text, "stream": name, "time": stamp}) + "\n").encode())
    try:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(5)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        try: os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError: pass
    print(out, written, "lines, exit", child.poll())

main()
