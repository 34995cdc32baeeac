//! Prints the test vectors of the content format, for `tests/vectors/vectors.json`.

#[path = "../tests/vectors/compute.rs"]
mod compute;

fn main() {
    println!("{:#}", compute::compute());
}
