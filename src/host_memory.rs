//! How much memory this process may still take: what the machine has left, and what the limits of
//! the process and its control group allow. Checked before allocating, as a process killed by the
//! system cannot report why.

use std::path::{Component, Path};

use crate::error::Error;

/// Refuses work that needs more memory than there is.
///
/// # Errors
/// [`Error::Memory`].
pub fn check(what: &str, needed: u64) -> Result<(), Error> {
    match available() {
        Some(available) if needed > available => Err(Error::Memory {
            what: what.to_owned(),
            needed,
            available,
        }),
        _ => Ok(()),
    }
}

/// The number of bytes still available; `None` if the system does not report it.
fn available() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    [
        of_machine(&read("/proc/meminfo")),
        of_process(&read("/proc/self/limits"), &read("/proc/self/status")),
        of_groups(Path::new("/sys/fs/cgroup"), &read("/proc/self/cgroup")),
    ]
    .into_iter()
    .flatten()
    .min()
}

/// The number after a name at the start of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn of_machine(meminfo: &str) -> Option<u64> {
    let free = number(meminfo, "MemAvailable:")?;
    let swap = number(meminfo, "SwapFree:").unwrap_or(0);
    free.checked_add(swap)?.checked_mul(1024)
}

fn of_process(limits: &str, status: &str) -> Option<u64> {
    let most = number(limits, "Max address space")?;
    let taken = number(status, "VmSize:").unwrap_or(0);
    Some(most.saturating_sub(taken.saturating_mul(1024)))
}

/// What the control groups of this process and those around them leave, of either version: the
/// smallest limit holds. `groups` is what the system says about the process, `root` where it keeps
/// groups.
fn of_groups(root: &Path, groups: &str) -> Option<u64> {
    let group = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let first = controllers.is_empty();
        let memory = first || controllers.split(',').any(|name| name == "memory");
        let (root, names) = if first {
            (root.to_owned(), ["memory.max", "anon "])
        } else {
            (root.join("memory"), ["memory.limit_in_bytes", "total_rss "])
        };
        memory.then(|| smallest(&root, Path::new(path), names))?
    };
    groups.lines().filter_map(group).min()
}

/// The least that a group and those around it leave. One without a folder lies elsewhere as this
/// process sees it, and those around it may be here.
fn smallest(root: &Path, group: &Path, [limit, used]: [&str; 2]) -> Option<u64> {
    let group = group.strip_prefix("/").ok()?;
    if group.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    let folders = group.ancestors().map(|folder| root.join(folder));
    let left = folders.filter_map(|folder| {
        let read = |name| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        of_group(&read(limit), &read("memory.stat"), used)
    });
    left.min()
}

/// Only anonymous pages count: pages of files are reclaimed when memory is needed.
fn of_group(max: &str, stat: &str, used: &str) -> Option<u64> {
    let most: u64 = max.trim().parse().ok()?;
    Some(most.saturating_sub(number(stat, used).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read() {
        let meminfo = "MemTotal: 9 kB\nMemAvailable:    1000 kB\nSwapFree:   24 kB\n";
        assert_eq!(of_machine(meminfo), Some(1 << 20));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max address space         1048576              unlimited            bytes\n";
        assert_eq!(
            of_process(limits, "VmSize:\t     1000 kB\n"),
            Some(24 << 10)
        );
        assert_eq!(of_process(limits, "VmSize:\t  1000000 kB\n"), Some(0));
        assert_eq!(
            of_process("Max address space unlimited unlimited", ""),
            None
        );
        assert_eq!(of_machine(""), None);
    }

    #[test]
    fn the_smallest_limit_of_a_group_and_those_around_it_holds() {
        let root = tempfile::tempdir().unwrap();
        let write = |group: &str, name: &str, text: &str| {
            let folder = root.path().join(group);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), text).unwrap();
        };
        let left = |groups: &str| of_groups(root.path(), groups);
        assert_eq!(left("0::/slice/job\n"), None, "no limits");
        assert_eq!(left(""), None, "no groups");

        write("slice/job", "memory.max", "max\n");
        write("slice/job", "memory.stat", "anon 100\n");
        assert_eq!(left("0::/slice/job\n"), None);
        write("slice", "memory.max", "1000\n");
        write("slice", "memory.stat", "anon 300\nfile 900\n");
        assert_eq!(left("0::/slice/job\n"), Some(700), "that of the slice");
        write("slice/job", "memory.max", "500\n");
        assert_eq!(left("0::/slice/job\n"), Some(400), "that of the job");
        assert_eq!(left("0::/elsewhere/job\n"), None, "another's");
        assert_eq!(left("0::/../../job\n"), None, "outside");

        // The first version, with a folder for each controller; the group is the root of what is seen.
        write("memory", "memory.limit_in_bytes", "200\n");
        write("memory", "memory.stat", "total_rss 50\n");
        let both = "5:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n0::/slice/job\n";
        assert_eq!(left(both), Some(150));
        assert_eq!(left("5:cpu:/docker/a\n"), None, "no memory");
    }

    #[test]
    fn too_much_is_refused_with_its_numbers() {
        assert!(check("nothing", 0).is_ok());
        if available().is_some() {
            let error = check("everything", 824 << 30).unwrap_err().to_string();
            assert!(
                error.starts_with("everything needs 824.0 GiB of memory"),
                "{error}"
            );
        }
    }
}
