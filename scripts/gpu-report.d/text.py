"""The report as text: Markdown, of nothing but what report.json has."""

import statistics


def markdown(found):
    """The whole report, of what is found so far."""
    return "\n".join(filter(None, (written(part, found) for part in SECTIONS)))


def written(part, found):
    """A program that prints something else must not cost the rest of the report."""
    try:
        return part(found)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, ZeroDivisionError) as error:
        return f"## {part.__name__}\n\nThe records are not as expected: {type(error).__name__} {error}\n"


def section(title, found, part, *lines):
    """A section with the commands whose outcome it shows; empty if none of them has run."""
    ran = [step for step in found["steps"] if step["part"] == part and has_run(step)]
    commands = list(dict.fromkeys(f"    {step['command']}" for step in ran))
    said = list(dict.fromkeys(text for step in ran for text in step["warnings"]))
    if not ran and not lines:
        return ""
    blocks = ["\n".join(lines).strip("\n"), "\n".join(f"* warning: {text}" for text in said), "\n".join(commands)]
    return "\n\n".join([f"## {title}", *filter(None, blocks)]) + "\n"


def has_run(step):
    return step["outcome"] not in ("left out", "not here") or step["exit"] is not None


def table(columns, rows):
    """Columns that begin with a space are of numbers."""
    if not rows:
        return []
    names = "| " + " | ".join(column.strip() for column in columns) + " |"
    under = "|" + "|".join("---:" if column.startswith(" ") else "---" for column in columns) + "|"
    return [names, under, *("| " + " | ".join(cell(value) for value in row) + " |" for row in rows)]


def cell(value):
    return ("–" if value is None else str(value)).replace("|", "\\|").replace("\n", " ")


def fixed(value, digits):
    return None if value is None else f"{value:.{digits}f}"


def reason_of(text):
    """What went wrong: where a program says that in a line that begins with "error: ", that one."""
    lines = (text or "").strip().split("\n")
    return next((line for line in lines if line.startswith("error: ")), lines[-1])


def adapter_of(found):
    """The adapter that the program has chosen, if it has."""
    rows = (found["devices"] or {}).get("adapters", [])
    return next((row for row in rows if row["chosen"]), None)


def head(found):
    adapter, about, computer = adapter_of(found), found["about"], found["machine"]
    versions = next((record["versions"] for record in found["benches"].values()), {})
    program = " ".join(["resnet-wgpu", versions.get("resnet-wgpu", ""), about.get("revision", "")]).split()
    wgpu = [f"wgpu {versions['wgpu']}"] if versions.get("wgpu") else []
    rows = [("state", f"{found['state']}, after {found['seconds']:.0f} s of {60 * found['minutes']:.0f} s")]
    if adapter:
        rows.append(("adapter", f"{adapter['name']} ({adapter['backend']}, {adapter['type']})"))
        rows.append(("driver", f"{adapter['driver']} {adapter['driver_info']}".strip()))
    rows += [(f"card {number}", card) for number, card in enumerate(found["clocks"]["cards"])]
    rows.append(("program", ", ".join([" ".join(program), *wgpu, *filter(None, [about.get("rustc")])])))
    rows.append(("network", f"{found['arch']}, random weights" + "".join(f" {flag}" for flag in found["flags"])))
    rows.append(("machine", f"{computer['processor']}, {computer['threads']} threads, {computer['system']}"))
    rows.append(("begun", found["date"]))
    return "\n".join([f"# ResNet on {adapter['name'] if adapter else 'this machine'}", "", *table(["", ""], rows), ""])


def failures(found):
    steps, alike = found["steps"], {}
    for step in steps:
        if step["outcome"] not in ("ok", "running"):
            alike.setdefault((step["outcome"], reason_of(step["error"])), []).append(step["name"])
    bad = [f"* {', '.join(names)}: {outcome}; {error}" for (outcome, error), names in alike.items()]
    good = sum(step["outcome"] == "ok" for step in steps)
    lines = [f"{good} of {len(steps)} commands ended well." if bad else f"Nothing: all {good} commands ended well."]
    lines += [f"{step['name']} is running." for step in steps if step["outcome"] == "running"]
    return "\n".join(["## What did not go well", "", *lines, *([""] if bad else []), *bad, ""])


def ratios(found):
    """Our times over those of the same precision, each pair by the same kind of clock."""
    rows = []
    for peer in [row for engine in found["peers"].values() for row in engine["times"]]:
        half = "f16" in peer["engine"]
        for name in ["f16", "f16 with matrices"] if half else ["f32", "f32 tuned"]:
            for run in found["benches"].get(name, {"runs": []})["runs"]:
                ours = run["gpu_ms"] if peer["clock"] == "GPU" else run["median_ms"]
                if run["batch"] == peer["batch"] and run["path"] == "gpu" and ours:
                    ratio = fixed(ours / peer["median_ms"], 2)
                    rows.append(
                        (
                            peer["engine"],
                            name,
                            peer["batch"],
                            fixed(ours, 3),
                            fixed(peer["median_ms"], 3),
                            ratio,
                            peer["clock"],
                        )
                    )
    columns = ["engine", "ours", " batch", " our median ms", " its median ms", " ratio", "clock"]
    return "\n".join(["## Our time over theirs", "", *table(columns, rows), ""]) if rows else ""


def adapters(found):
    rows = []
    for row in (found["devices"] or {}).get("adapters", []):
        features = ", ".join(feature["name"] for feature in row["features"] if feature["available"])
        notes = [
            row["unsuitable"],
            row["failed"],
            *(f"{kernel['name']} is wrong in {kernel['layer']}" for kernel in row["wrong_kernels"]),
        ]
        driver = f"{row['driver']} {row['driver_info']}".strip()
        name = f"**{row['name']}**" if row["chosen"] else row["name"]
        rows.append(
            (
                row["index"],
                name,
                row["backend"],
                driver,
                row["type"],
                row["pci"],
                features,
                "; ".join(filter(None, notes)),
            )
        )
    vulkan = found["vulkan"]
    drivers = ", ".join(f"`{file}`" for file in vulkan.get("drivers", [])) or "none"
    chosen = "".join(f", `{name}={value}`" for name, value in vulkan.get("chosen", {}).items())
    columns = [" number", "name", "API", "driver", "kind", "PCI", "features", "notes"]
    lines = [*table(columns, rows), *([""] if rows else [])]
    return section(
        "Adapters", found, "devices", *lines, f"Vulkan's loader: {vulkan.get('loader')}; drivers: {drivers}{chosen}."
    )


def wrong_kernels(found):
    rows, wrong = [], []
    for name, record in found["selftest"].items():
        cases = record["cases"]
        worst = max(cases, key=lambda case: case["max_rel"])
        bad = [case for case in cases if not case["within"]]
        rows.append((name, len(cases), len(bad) or "none", worst["layer"], f"{worst['max_rel']:.1e}"))
        wrong += [
            (name, case["layer"], " ".join(case["kernels"]), case["choice"], f"{case['max_rel']:.1e}") for case in bad
        ]
    lines = table(["precision", " kinds of layers", " wrong", "worst", " its relative error"], rows)
    more = table(["precision", "wrong layer", "kernels", "choice", " relative error"], wrong)
    return section("Kernels against the reference", found, "selftest", *lines, *([""] if more else []), *more)


def layer_differences(found):
    rows = []
    for name, record in found["compare"].items():
        layers, logits = record["layers"], record["logits"] or {}
        worst = max(layers, key=lambda layer: layer["max_rel"])
        row = [
            name,
            "all" if record["within"] else f"**not from {record['first_outside'] or 'the logits'}**",
            len(layers),
        ]
        row += [worst["name"], f"{worst['max_rel']:.1e}"]
        row += [f"{logits[field]:.1e}" if field in logits else None for field in ("max_abs", "max_rel")]
        rows.append((*row, {True: "equal", False: "**different**"}.get(logits.get("top5_equal"))))
    columns = ["precision", "within the tolerance", " layers", "worst layer", " its relative error"]
    columns += [" logits: largest error", " relative", "five best classes"]
    return section("Layers against the reference", found, "compare", *table(columns, rows))


def tests(found):
    lines = []
    for name, test in found["tests"].items():
        result = test["result"] or f"did not end; {test['passed']} had passed"
        lines += [f"* {name}: {result}", *(f"    * **{failed}**" for failed in test["failed"])]
    for name, test in found["tests"].items():
        if test["said"]:
            lines += ["", f"{name}:", "", "```", *test["said"], "```"]
    return section("Tests on the GPU", found, "tests", *lines)


def benches(found):
    rows = []
    for name, record in found["benches"].items():
        if name == "f32 tuned":
            continue
        for run, plan in zip(record["runs"], record["plans"] or [{}] * len(record["runs"])):
            rows.append(
                (*run_cells(name, run), plan.get("dispatches"), fixed(plan.get("activation_bytes", 0) / 1e6, 1))
            )
    startup = found["benches"].get("f32", {}).get("startup")
    first = []
    if startup:
        parts = ", ".join(f"{part} {startup[f'{part}_ms']:.0f} ms" for part in ("adapter", "weights", "pipelines"))
        first = ["", f"The first run had its result after {startup['first_result_ms']:.0f} ms: {parts}."]
    columns = ["precision", *RUN_COLUMNS, " dispatches", " activations MB"]
    return section(f"{found['arch']} with the default kernels", found, "bench", *table(columns, rows), *first)


RUN_COLUMNS = ["path", " batch", " runs", " median ms", " min ms", " p95 ms", " GPU median ms", " images/s", " GFLOP/s"]


def run_cells(name, run):
    times = (fixed(run[field], 3) for field in ("median_ms", "min_ms", "p95_ms", "gpu_ms"))
    return (
        name,
        run["path"],
        run["batch"],
        len(run["samples_ms"]),
        *times,
        fixed(run["images_per_s"], 0),
        fixed(run["gflops"], 0),
    )


def layer_times(found):
    record = found["layers"]
    if not record or not record.get("layers"):
        return section("Layers under the roofline, f32, batch 1", found, "layers")
    layers, peak, run = record["layers"], record["peak"], record["runs"][0]
    total = sum(layer["ms"] for layer in layers)
    device = record["layers_clock"] != "host"
    by = "by the device's clock" if device else "each submitted alone, by the host's clock"
    whole, of = (run["gpu_ms"], "GPU time") if run["gpu_ms"] else (run["median_ms"], "time by the host's clock")
    launches = len(layers) * peak["launch_us"] * 1e-3
    slow = sorted(layers, key=lambda layer: -layer["ms"])[:15]
    rows = [
        (
            layer["node"],
            layer["kernel"],
            "×".join(map(str, layer["output"])),
            fixed(layer["ms"], 4),
            f"{layer['ms'] / total:.1%}",
            fixed(layer["gflops"], 0),
            fixed(layer["gigabytes_per_s"], 1),
            f"{layer['share_of_peak']:.0%}",
        )
        for layer in slow
    ]
    columns = ["layer", "kernel", "output", " ms", " share", " GFLOP/s", " GB/s", " of the peak"]
    memory = f"{peak['gigabytes_per_s']:.1f} GB/s ({peak['gigabytes_per_s_of']})"
    return section(
        "Layers under the roofline, f32, batch 1",
        found,
        "layers",
        f"Peak: {peak['gflops']:.0f} GFLOP/s ({peak['gflops_of']}), {memory}.",
        "",
        *table(
            ["launches", " ms"],
            [
                (f"the whole network, {of}", fixed(whole, 3)),
                (f"the sum of its {len(layers)} layers, {by}", fixed(total, 3)),
                ("the whole less the sum", fixed(whole - total, 3)),
                (f"{len(layers)} dispatches of nothing, each {peak['launch_us']:.2f} µs", fixed(launches, 3)),
            ],
        ),
        "",
        "![the layers under the roofline, and their times](layers.svg)",
        "",
        f"The {len(slow)} slowest:",
        "",
        *table(columns, rows),
    )


def tuned(found):
    lines = []
    for batch, record in found["tune"].items():
        for tuned in record["batches"]:
            changed = [layer for layer in tuned["layers"] if layer["choice"] != layer["default"]]
            changed.sort(key=lambda layer: -layer["count"] * (layer["default_ms"] - layer["choice_ms"]))
            rows = [
                (
                    layer["layer"],
                    layer["count"],
                    layer["default"],
                    layer["choice"],
                    fixed(layer["default_ms"], 4),
                    fixed(layer["choice_ms"], 4),
                    f"{layer['default_ms'] / layer['choice_ms']:.2f}",
                )
                for layer in changed[:20]
                if layer["choice_ms"]
            ]
            wrong = sum(layer["wrong"] for layer in tuned["layers"])
            measured, network = len(tuned["layers"]), tuned["network"]
            whole = ""
            if network:
                times = f"{network['default_ms']:.3f} ms with the defaults, {network['tuned_ms']:.3f} ms tuned"
                whole = f"; the network: {times}, {'kept' if network['faster'] else 'discarded'}"
            lines.append(
                f"Batch {batch}: of {measured} kinds of layers {len(changed)} have something faster than the default, "
                f"{tuned['unmeasured']} were not reached; wrong candidates: {wrong}{whole}."
            )
            columns = ["layer", " times", "default", "choice", " default ms", " choice ms", " ratio"]
            lines += ["", *table(columns, rows), *([""] if rows else [])]
    rows = []
    for run in found["benches"].get("f32 tuned", {"runs": []})["runs"]:
        for before in found["benches"].get("f32", {"runs": []})["runs"]:
            if before["batch"] == run["batch"]:
                pair = [one["gpu_ms"] or one["median_ms"] for one in (before, run)]
                rows.append((run["batch"], *(fixed(ms, 3) for ms in pair), fixed(pair[1] / pair[0], 3)))
    if rows:
        lines += ["Measured again:", "", *table([" batch", " default ms", " tuned ms", " ratio"], rows)]
    return section("Tuned kernels against the defaults, f32", found, "tune", *lines)


def peers(found):
    rows, lines = [], []
    for name, peer in found["peers"].items():
        step = next(step for step in found["steps"] if step["name"] == name)
        if peer["about"]:
            lines.append(f"* {peer['about']}")
        if step["outcome"] != "ok":
            lines.append(f"* {name}: {step['outcome']}; {reason_of(step['error'])}")
        rows += [
            (
                row["engine"],
                row["batch"],
                row["runs"],
                fixed(row["median_ms"], 3),
                fixed(row["min_ms"], 3),
                row["clock"],
            )
            for row in peer["times"]
        ]
    more = table(["engine", " batch", " runs", " median ms", " min ms", "clock"], rows)
    return section("resnet50 in other engines", found, "peers", *lines, *([""] if more else []), *more)


def family(found):
    rows = [run_cells(arch, run) for arch, record in found["family"].items() for run in record["runs"]]
    return section("Other networks, f32", found, "family", *table(["network", *RUN_COLUMNS], rows))


def clocks(found):
    """What was read during each part."""
    samples, rows = found["clocks"]["samples"], []
    for part in dict.fromkeys(step["part"] for step in found["steps"]):
        seen = [sample for sample in samples if sample["part"] == part]
        values = {name: [sample[name] for sample in seen if sample.get(name) is not None] for name in CLOCKS}
        if seen:
            cells = (
                f"{min(v):.0f} / {statistics.median(v):.0f} / {max(v):.0f}" if v else None for v in values.values()
            )
            rows.append((part, len(seen), *cells))
    source = found["clocks"]["source"]
    said = f"By {source}, every second: least / median / most." if rows else "Neither nvidia-smi nor Linux shows any."
    columns = ["while", " samples", *(f" {title}" for title in CLOCKS.values())]
    return "\n".join(["## Clocks", "", said, *([""] if rows else []), *table(columns, rows), ""])


CLOCKS = {"core_mhz": "core MHz", "memory_mhz": "memory MHz", "watts": "W", "celsius": "°C"}


def steps(found):
    rows = [
        (
            step["name"],
            fixed(step["began"], 0),
            fixed(step["seconds"], 1),
            step["outcome"],
            step["exit"],
            reason_of(step["error"]),
        )
        for step in found["steps"]
    ]
    errors = []
    for step in found["steps"]:
        if "\n" in (step["error"] or ""):
            errors += ["", f"{step['name']}:", "", "```", *step["error"].splitlines(), "```"]
    columns = ["command", " begun at s", " took s", "outcome", " exit code", "because"]
    return "\n".join(["## All commands", "", *table(columns, rows), *errors, ""])


SECTIONS = [
    head,
    failures,
    ratios,
    adapters,
    wrong_kernels,
    layer_differences,
    tests,
    benches,
    layer_times,
    tuned,
    peers,
    family,
    clocks,
    steps,
]
