//! Owns making a failing script short: steps are dropped while it still fails.

use super::script::Script;

/// So many runs are enough for one script.
const RUNS_MAX: u32 = 600;

/// Drops what can be dropped; `fails` runs a script.
pub fn shrink(script: Script, mut fails: impl FnMut(&Script) -> bool) -> Script {
    let mut runs = 0;
    let mut fails = |script: &Script| {
        runs += 1;
        runs <= RUNS_MAX && fails(script)
    };
    let mut best = script;
    for who in (1..best.machines).rev() {
        let mut fewer = best.clone();
        fewer.steps.retain(|step| step.who != who);
        if fails(&fewer) {
            best = fewer;
        }
    }
    let mut chunk = best.steps.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        let mut has_shrunk = false;
        while at < best.steps.len() {
            let mut fewer = best.clone();
            fewer.steps.drain(at..(at + chunk).min(best.steps.len()));
            if fails(&fewer) {
                best = fewer;
                has_shrunk = true;
            } else {
                at += chunk;
            }
        }
        if chunk > 1 || !has_shrunk {
            chunk /= 2;
        }
    }
    let calm = Script { oddness: 0, ..best.clone() };
    if fails(&calm) { calm } else { best }
}
