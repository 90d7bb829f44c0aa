#[burla::function]
pub fn my_function(my_input: i64) -> i64 {
    println!("{my_input}");
    my_input * 2
}
