"""Command line: random sequences of some seeds, to both servers.

    interop/differ/run --seeds 0..20 --operations 5000
    interop/differ/run --impls apache,apache     two of the same must not differ
    interop/differ/run --impls apache,zabkeeper*3 --without deleteContainer,config
                                             a follower of three servers, whose /zookeeper/config is another
    interop/differ/run --cases all
    interop/differ/run --without deleteContainer,createTTL,quota
"""
import argparse
import sys
import time

from zk import parts

from . import cases, compare, generate, malformed, servers


def main():
    arguments = argparse.ArgumentParser(prog="interop/differ/run")
    arguments.add_argument("--seeds", default="0..20", help="one, or from..to (without the last)")
    arguments.add_argument("--operations", type=int, default=5000, help="of each seed")
    arguments.add_argument("--impls", default="apache,zabkeeper")
    arguments.add_argument("--without", default="deleteContainer", help="kinds of operation to leave out: "
                           + " ".join(generate.WEIGHTS) + "; and config, a node")
    arguments.add_argument("--ports", help="two, with a comma")
    arguments.add_argument("--no-shrink", action="store_true")
    arguments.add_argument("--cases", help="hand-written sequences instead: names with commas, or `all`")
    arguments.add_argument("--record-malformed", action="store_true",
                           help="write what both answer into malformed/*.txt")
    arguments.add_argument("--keep-going", action="store_true", help="after a seed that differs")
    options = arguments.parse_args()
    reason = parts.missing_java()
    if reason:
        sys.exit(f"differ: {reason}")
    begin, _, end = options.seeds.partition("..")
    seeds = range(int(begin), int(end) if end else int(begin) + 1)
    without = [name for name in options.without.split(",") if name]
    unknown = set(without) - generate.WEIGHTS.keys() - {"config"}
    if unknown:
        sys.exit(f"differ: no such kind of operation: {', '.join(sorted(unknown))}")
    ports = [int(port) for port in options.ports.split(",")] if options.ports else None
    with servers.pair(options.impls.split(","), ports=ports) as both:
        if options.record_malformed:
            sys.exit(malformed.record(both))
        if options.cases:
            sys.exit(hand_written(options.cases, [s.client_port for s in both]))
        started = time.monotonic()
        count, different = 0, 0
        for seed in seeds:
            found, done = one_seed(seed, options, without, [s.client_port for s in both])
            count += done
            if found is not None:
                different += 1
                print(f"seed {seed}: {found}", flush=True)
                if not options.keep_going:
                    break
            for server in both:
                if not server.running():
                    sys.exit(f"differ: {server.impl} died\n{server.log_tail()}")
        seconds = time.monotonic() - started
        print(f"{count} operations in {seconds:.1f} s, {different} seeds with a difference")
    sys.exit(1 if different else 0)


def hand_written(names, ports):
    """Runs sequences of `cases`; how many differ."""
    different = 0
    for name in cases.CASES if names == "all" else names.split(","):
        found = compare.run(cases.items_of(name, f"/{name}"), ports)
        print(f"{name}: {'alike' if found is None else found}", flush=True)
        different += found is not None
    return different


def one_seed(seed, options, without, ports):
    """The difference, shrunk, or None; how many operations were done."""
    def make(number):
        return generate.story(seed, options.operations, f"/{seed:06d}-{number:04d}", without)
    items = make(0)
    found = compare.run(items, ports)
    if found is None:
        return None, len(items)
    if options.no_shrink:
        return found, found.at
    print(f"seed {seed} differs at step {found.at}; shrinking", flush=True)
    smallest = compare.shrink(make, ports, found)
    text = "\n".join(f"  {item}" for item in smallest.items)
    return f"{smallest}\nthe shortest sequence that differs:\n{text}", found.at


main()
