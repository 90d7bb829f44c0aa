use burla::remote_parallel_map;

#[burla::function]
fn my_function(my_input: i64) -> i64 {
    println!("{my_input}");
    my_input * 2
}

fn main() -> burla::Result<()> {
    let outputs = remote_parallel_map(my_function, [1, 2, 3]).run()?;
    println!("{outputs:?}");
    Ok(())
}
