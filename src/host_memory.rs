//! How much memory this process may still take: what the machine has left, and what the limits of
//! the process and its control group allow. Checked before allocating, as a process killed by the
//! system cannot report why.

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
    let group = read("/proc/self/cgroup");
    let group = group.lines().find_map(|line| line.strip_prefix("0::"));
    let group = format!("/sys/fs/cgroup{}", group.unwrap_or("/"));
    let in_group = |name: &str| read(&format!("{group}/{name}"));
    [
        of_machine(&read("/proc/meminfo")),
        of_process(&read("/proc/self/limits"), &read("/proc/self/status")),
        of_group(&in_group("memory.max"), &in_group("memory.stat")),
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

/// Only anonymous pages count: pages of files are reclaimed when memory is needed.
fn of_group(max: &str, stat: &str) -> Option<u64> {
    let most: u64 = max.trim().parse().ok()?;
    Some(most.saturating_sub(number(stat, "anon ").unwrap_or(0)))
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
        assert_eq!(of_group("1000\n", "anon 300\nfile 900\n"), Some(700));
        assert_eq!(of_group("max\n", ""), None);
        assert_eq!((of_machine(""), of_group("", "")), (None, None));
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
