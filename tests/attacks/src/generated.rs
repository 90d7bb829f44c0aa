//! Components that are too large to be written down, or that nobody would write.

/// The rest of a component, after a core module `$guest` that exports `memory`, `realloc` and `call`: what makes it one whose
/// function can be called. `NAME` stands for the crate of that function.
const HANDLER: &str = r#"
  (core instance $instance (instantiate $guest))
  (type $failure (record (field "message" string) (field "causes" (list string))))
  (type $call-error (variant (case "failed" $failure) (case "refused" string)))
  (func $call (param "name" string) (param "input" (list u8)) (result (result (list u8) (error $call-error)))
    (canon lift
      (core func $instance "call")
      (memory (core memory $instance "memory"))
      (realloc (core func $instance "realloc"))))
  (instance $handler
    (export "failure" (type $failure))
    (export "call-error" (type $call-error))
    (export "call" (func $call)))
  (export "burla:function/handler@0.1.0" (instance $handler))
  (@custom "burla:functions" "{\"name\":\"NAME::attack\",\"signature\":\"()\",\"doc\":\"\",\"source\":\"\"}")
"#;

/// Ends `call` with an output of one byte, which is a small number: the one at 100.
const RETURN: &str = "
    (i32.store (i32.const 0) (i32.const 0))
    (i32.store (i32.const 4) (i32.const 100))
    (i32.store (i32.const 8) (i32.const 1))
    (i32.const 0)";

/// What begins a component, and nothing else.
const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

/// The number of the section that holds a component within another.
const COMPONENT_SECTION: u8 = 4;

/// Makes what the list calls `generated:what`; `real` is a component as a user would have it.
pub(crate) fn component(what: &str, real: &[u8]) -> Vec<u8> {
    let (kind, size) = what.split_once('/').unwrap_or((what, "0"));
    let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("`{text}` in `{what}` is no number"));
    match kind {
        "not_a_component" => numbers(1).take(number(size)).map(|number| number as u8).collect(),
        "core_module" => b"\0asm\x01\0\0\0".to_vec(),
        "truncated" => real[..real.len() * number(size) / 100].to_vec(),
        "altered" => altered(real, number(size) as u64),
        "functions" => functions(number(size)),
        "memories" => with_handler("generated", &guest(&"(memory 1)".repeat(number(size) - 1), RETURN), ""),
        "nested_blocks" => {
            let blocks = number(size);
            with_handler("generated", &guest("", &format!("{} {} {RETURN}", "block ".repeat(blocks), "end ".repeat(blocks))), "")
        }
        "nested_types" => nested_types(number(size)),
        "nested_components" => nested_components(number(size)),
        "slow_to_compile" => {
            let (blocks, locals) = size.split_once('x').expect("blocks x locals");
            slow_to_compile(number(blocks), number(locals))
        }
        other => panic!("nothing is generated as `{other}`"),
    }
}

/// A component of a core module `$guest`, and of what more there is after the handler.
pub(crate) fn with_handler(name: &str, guest: &str, more: &str) -> Vec<u8> {
    encoded(&format!("(component\n{guest}\n{}\n{more})", HANDLER.replace("NAME", name)))
}

/// The bytes of a component that was written as text.
pub(crate) fn encoded(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Numbers that look random, and are the same every time.
pub fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    // Knuth's MMIX. Its low bits are not random, so they are not used.
    let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(next(&seed), next).map(|state| state >> 33)
}

fn guest(fields: &str, body: &str) -> String {
    format!(
        r#"(core module $guest
  (memory (export "memory") 1)
  {fields}
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "call") (param i32 i32 i32 i32) (result i32) {body}))"#
    )
}

/// A real component with a few bytes that are not what they were: mostly in its code, where most of its bytes are.
fn altered(real: &[u8], seed: u64) -> Vec<u8> {
    const ALTERED_BYTES: usize = 4;

    let mut bytes = real.to_vec();
    let mut numbers = numbers(seed);
    for _ in 0..ALTERED_BYTES {
        let (Some(position), Some(value)) = (numbers.next(), numbers.next()) else { break };
        let position = position as usize % bytes.len();
        bytes[position] = value as u8;
    }
    bytes
}

/// Many functions, the last of which is called. The output is 7.
fn functions(count: usize) -> Vec<u8> {
    let function =
        |number: usize| format!("(func $f{number} (param i32) (result i32) (i32.add (local.get 0) (i32.const {number})))\n");
    let functions: String = (0..count).map(function).collect();
    let last = count - 1;
    let call = format!("(i32.store8 (i32.const 100) (call $f{last} (i32.sub (i32.const 7) (i32.const {last})))) {RETURN}");
    with_handler("generated", &guest(&functions, &call), "")
}

/// A list of lists of lists, as a parameter of another function: whoever follows it by recursion has no end of stack.
fn nested_types(levels: usize) -> Vec<u8> {
    let types: String = (1..levels).map(|level| format!("(type $t{level} (list $t{}))\n", level - 1)).collect();
    let more = format!(
        r#"(type $t0 (list u8))
{types}
(func $other (param "nested" $t{})
  (canon lift
    (core func $instance "other")
    (memory (core memory $instance "memory"))
    (realloc (core func $instance "realloc"))))
(export "other" (func $other))"#,
        levels - 1
    );
    with_handler("generated", &guest(r#"(func (export "other") (param i32 i32))"#, RETURN), &more)
}

/// A component in a component in a component, at the end of one that could be called.
fn nested_components(levels: usize) -> Vec<u8> {
    let mut nested = PREAMBLE.to_vec();
    for _ in 0..levels {
        let section = component_section(&nested);
        nested = [PREAMBLE, &section].concat();
    }
    let outermost = with_handler("generated", &guest("", RETURN), "");
    [outermost, component_section(&nested)].concat()
}

fn component_section(component: &[u8]) -> Vec<u8> {
    let mut section = vec![COMPONENT_SECTION];
    // LEB128: seven bits at a time, the lowest first.
    let mut size = component.len();
    while size >= 0x80 {
        section.push(0x80 | (size & 0x7f) as u8);
        size >>= 7;
    }
    section.push(size as u8);
    section.extend_from_slice(component);
    section
}

/// A few kilobytes of code that take a compiler seconds: a jump to any of many blocks, after each of which any of many variables
/// may have been set, so that all have to be followed through all. 1,000 blocks and 600 variables take Cranelift 4 to 6 s; 2,000
/// and 1,000 take it half a minute.
fn slow_to_compile(blocks: usize, locals: usize) -> Vec<u8> {
    // The first four locals are the parameters.
    let local = |number: usize| number % locals + 4;
    let mut body = format!("(local {})", "i32 ".repeat(locals));
    body.push_str(&"block ".repeat(blocks));
    body.push_str("(i32.load8_u (local.get 2)) br_table");
    (0..blocks).for_each(|block| body.push_str(&format!(" {block}")));
    for block in 0..blocks {
        let (from, to) = (local(block * 7919), local(block * 104_729));
        body.push_str(&format!("\nend local.get {from} local.get {to} i32.add local.set {to}"));
    }
    // What nobody reads, the compiler need not follow.
    body.push_str("\n(i32.store8 (i32.const 100) (i32.and (local.get 4) (i32.const 127)))");
    body.push_str(RETURN);
    with_handler("generated", &guest("", &body), "")
}

#[cfg(test)]
mod tests {
    use burla_types::component::{Description, InvalidComponent};

    use super::*;

    #[test]
    fn what_is_generated_has_the_function_that_it_is_called_by() {
        for what in ["functions/10", "nested_blocks/10", "nested_types/10", "nested_components/300", "slow_to_compile/5x5"] {
            let description = Description::read(&component(what, &[])).unwrap();
            assert!(description.exports_handler() && description.function("generated::attack").is_some(), "{what}");
        }
        let refused = Description::read(&component("memories/3", &[]));
        assert!(matches!(refused, Err(InvalidComponent::Memories { memories: 3 })), "{refused:?}");
    }
}
