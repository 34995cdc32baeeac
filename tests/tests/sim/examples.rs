//! Owns the examples of docs/sync.md: what each says is done on simulated devices, and what is there in the end must be what
//! it says. The words of an example are those of [`stage`] (what happens) and [`deeds`] (what programs do).

mod deeds;
mod looks;
mod stage;

use super::time::Time;
use looks::shown;
use stage::{Setting, Stage};
use std::path::Path;
use std::time::Duration;
use tarn_tests::page::{self, Example, Place, SYNC};

/// Longer than any line is believed in, and than devices wait to pull.
const AWAY: Duration = Duration::from_secs(900);

fn examples() -> impl Iterator<Item = Example<'static>> {
    page::examples(SYNC).into_iter().filter(|example| example.place == Place::Simulation)
}

/// What is otherwise than the example says.
fn differences(example: &Example<'_>, setting: Setting) -> Vec<String> {
    let mut differences = Vec::new();
    let expected = example.shown.as_ref().unwrap_or_else(|| panic!("{}: what is there at the end", example.title));
    let time = Time::default();
    time.run(async {
        let mut stage = Stage::new(time.clone(), setting);
        stage.rest().await;
        for step in &example.steps {
            if let Err(wrong) = stage.happen(step).await {
                differences.push(format!("{}: {step:?}: {wrong}", example.title));
                break;
            }
        }
        if differences.is_empty() {
            stage.rest().await;
            differences
                .extend(stage.unrest().map(|device| format!("{}: {device} has something to say", example.title)));
            for (device, life) in stage.lives() {
                let shown = shown(life, &stage.centre.server.lock()).unwrap();
                if shown != *expected {
                    differences.push(format!("{}: {device} shows {shown:#?}, not {expected:#?}", example.title));
                }
            }
        }
        stage.end().await;
    });
    differences
}

/// TARN_SIM_EXAMPLE: only examples whose titles have this.
fn hold(setting: Setting) {
    let only = std::env::var("TARN_SIM_EXAMPLE").unwrap_or_default();
    let chosen = examples().filter(|example| example.title.contains(&only));
    let differences: Vec<String> = chosen.flat_map(|example| differences(&example, setting)).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn each_rule_in_the_description_of_sync_has_an_example() {
    assert_eq!(page::faults(SYNC), Vec::<String>::new());
    assert!(examples().count() > 50);
}

/// What is published of a save is told beside the fixture that has its calls: `tests/tests/e2e/saves.rs` does them.
#[test]
fn each_save_in_the_description_of_sync_has_a_fixture_and_each_fixture_is_there() {
    let table = SYNC.split("| fixture | what is published |\n|---|---|\n").nth(1).expect("the table of saves");
    let rows = table.lines().map_while(|line| line.strip_prefix("| ")?.split(" | ").next());
    let mut told: Vec<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/saves");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut fixtures: Vec<String> = files.filter_map(|file| Some(file.strip_suffix(".txt")?.to_owned())).collect();
    told.sort_unstable();
    fixtures.sort_unstable();
    assert_eq!(told, fixtures);
}

#[test]
fn each_example_in_the_description_of_sync_holds() {
    hold(Setting::default());
}

#[test]
fn each_example_holds_with_five_devices_and_wrong_clocks_and_for_who_was_away() {
    hold(Setting { devices: 5, years_wrong: 3, away: AWAY });
}
