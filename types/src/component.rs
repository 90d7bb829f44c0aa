//! Reads what a component says of itself out of its bytes, without running it: its functions, and what it imports.

use wasmparser::{
    ElementItems, ElementKind, ElementSectionReader, Encoding, KnownCustom, Name, NameSectionReader, Parser, Payload, TypeRef,
};

use crate::{FUNCTION_SECTION, FunctionInfo};

/// The interface every component of functions exports.
pub const HANDLER_INTERFACE: &str = "burla:function/handler@0.1.0";

/// What a node offers a component, without versions: `burla:function/report`, what `wasi:cli/imports` names, and outgoing HTTP. The
/// network interfaces are offered whether anything was granted or not, since std imports them; every use of them is denied unless
/// it was.
pub const OFFERED_INTERFACES: &[&str] = &[
    "burla:function/report",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// What a component says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its functions, by name.
    pub functions: Vec<FunctionInfo>,
    /// The interfaces it imports, in its own order.
    pub imports: Vec<String>,
    /// The interfaces it exports, in its own order.
    pub exports: Vec<String>,
}

impl Description {
    /// Reads a component's own description. Costs one pass over the bytes, and holds none of them.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidComponent> {
        let mut description = Self { functions: vec![], imports: vec![], exports: vec![] };
        // Nested modules and components come inline; only what the outermost level imports and exports is the node's business.
        let mut depth = 0usize;
        // Of the module that is being read. A module holds no other, and both sections come before its code.
        let mut memories = 0usize;
        // Of all modules together.
        let mut passive_elements = 0u64;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(InvalidComponent::Malformed)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(InvalidComponent::CoreModule),
                Payload::Version { encoding: Encoding::Module, .. } => memories = 0,
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.map_err(InvalidComponent::Malformed)?;
                        memories += usize::from(matches!(import.ty, TypeRef::Memory(_)));
                    }
                    check_memories(memories)?;
                }
                Payload::MemorySection(section) => {
                    memories += section.count() as usize;
                    check_memories(memories)?;
                }
                Payload::ElementSection(section) => {
                    passive_elements += count_passive_elements(section)?;
                    if passive_elements > PASSIVE_ELEMENTS_MAX {
                        return Err(InvalidComponent::PassiveElements { elements: passive_elements });
                    }
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        description.imports.push(import.map_err(InvalidComponent::Malformed)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        description.exports.push(export.map_err(InvalidComponent::Malformed)?.name.name.to_owned());
                    }
                }
                Payload::CustomSection(section) if section.name() == FUNCTION_SECTION => {
                    description.functions.extend(read_functions(section.data())?);
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        check_names(names)?;
                    }
                }
                _ => {}
            }
        }
        description.functions.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(description)
    }

    /// The imports that no node offers, in the component's own order.
    pub fn imports_not_offered(&self) -> Vec<&str> {
        let offered = |import: &&str| {
            let (interface, version) = import.split_once('@').unwrap_or((import, ""));
            // A node offers 0.2 of WASI; 0.3 has other signatures under the same names.
            OFFERED_INTERFACES.contains(&interface) && (!interface.starts_with("wasi:") || version.starts_with("0.2."))
        };
        self.imports.iter().map(String::as_str).filter(|import| !offered(import)).collect()
    }

    /// Whether a node can call functions in it.
    pub fn exports_handler(&self) -> bool {
        self.exports.iter().any(|export| export == HANDLER_INTERFACE)
    }

    /// The function of this name.
    pub fn function(&self, name: &str) -> Option<&FunctionInfo> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// Another function of the same name. A node, which is told only the name, could not know which of them is meant.
    pub fn namesake(&self, function: &FunctionInfo) -> Option<&FunctionInfo> {
        self.functions.iter().find(|other| other.name == function.name && !std::ptr::eq(*other, function))
    }
}

/// Bytes of the name of a function inside a component. A trap copies the names of up to twenty that were active; Rust's are some
/// hundred letters long, and some thousand where generics are nested deeply.
const FUNCTION_NAME_BYTES_MAX: usize = 64 << 10;

/// Refuses names that no compiler gives. What cannot be read as names, nobody reads.
fn check_names(names: NameSectionReader<'_>) -> Result<(), InvalidComponent> {
    for name in names {
        let Ok(name) = name else { return Ok(()) };
        if let Name::Function(functions) = name
            && functions.into_iter().flatten().any(|function| function.name.len() > FUNCTION_NAME_BYTES_MAX)
        {
            return Err(InvalidComponent::FunctionName);
        }
    }
    Ok(())
}

/// Elements of passive segments in all modules of a component. wasmtime copies them for each instance, 16 bytes each, which no limit of a
/// call covers: 2 MiB for the 32 instances that a component may have. Compilers make active segments.
const PASSIVE_ELEMENTS_MAX: u64 = 4096;

fn count_passive_elements(section: ElementSectionReader<'_>) -> Result<u64, InvalidComponent> {
    let mut elements = 0;
    for segment in section {
        let segment = segment.map_err(InvalidComponent::Malformed)?;
        let items = match segment.items {
            ElementItems::Functions(functions) => functions.count(),
            ElementItems::Expressions(_, expressions) => expressions.count(),
        };
        if matches!(segment.kind, ElementKind::Passive) {
            elements += u64::from(items);
        }
    }
    Ok(elements)
}

/// Refuses a module with several memories, which no compiler makes unless it is asked to. The engine itself has to allow it for modules
/// that it generates between the parts of a composed component.
fn check_memories(memories: usize) -> Result<(), InvalidComponent> {
    if memories > 1 { Err(InvalidComponent::Memories { memories }) } else { Ok(()) }
}

fn read_functions(section: &[u8]) -> Result<Vec<FunctionInfo>, InvalidComponent> {
    let lines = section.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(InvalidComponent::FunctionSection)).collect()
}

/// Bytes that no node could run.
#[derive(Debug, thiserror::Error)]
pub enum InvalidComponent {
    /// Not WebAssembly, or cut short.
    #[error("the bytes are not a WebAssembly component")]
    Malformed(#[source] wasmparser::BinaryReaderError),
    /// WebAssembly of the older kind.
    #[error("the bytes are a core WebAssembly module, not a component: build for wasm32-wasip2")]
    CoreModule,
    /// A function inside has a name that no compiler gives.
    #[error("a function inside the component has a name of more than {} KiB", FUNCTION_NAME_BYTES_MAX >> 10)]
    FunctionName,
    /// Its modules have large passive element segments.
    #[error(
        "the modules inside the component have {elements} elements in passive segments, and may have {PASSIVE_ELEMENTS_MAX}: make the segments active"
    )]
    PassiveElements {
        /// How many there are, as far as they were counted.
        elements: u64,
    },
    /// A module inside has several memories.
    #[error("a module inside the component has {memories} memories, and may have one: compile it without multi-memory")]
    Memories {
        /// How many it imports and defines, as far as they were counted.
        memories: usize,
    },
    /// The list of functions is not what `#[burla::function]` writes.
    #[error("the component's list of functions (section `{FUNCTION_SECTION}`) is not readable")]
    FunctionSection(#[source] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_component_is_told_apart() {
        assert!(matches!(Description::read(b"not wasm at all"), Err(InvalidComponent::Malformed(_))));
        assert!(matches!(Description::read(b"\0asm\x01\0\0\0"), Err(InvalidComponent::CoreModule)));
        // The component preamble alone is an empty, valid component.
        let empty = Description::read(b"\0asm\x0d\0\x01\0").unwrap();
        assert!(!empty.exports_handler());
    }

    #[test]
    fn names_that_no_compiler_gives_are_refused() {
        let component = |bytes: usize| {
            let name = "x".repeat(bytes);
            let text = format!("(component (core module (func ${name})))");
            wat::parse_str(text).unwrap()
        };
        assert!(Description::read(&component(1000)).is_ok());
        assert!(matches!(Description::read(&component(FUNCTION_NAME_BYTES_MAX + 1)), Err(InvalidComponent::FunctionName)));
    }

    #[test]
    fn large_passive_segments_are_refused() {
        let passive = |count: usize| format!("(core module (elem funcref {}))", "(ref.null func) ".repeat(count));
        let read = |modules: &str| Description::read(&wat::parse_str(format!("(component {modules})")).unwrap());
        assert!(read(&passive(4096)).is_ok());
        let active =
            format!("(core module (table 5000 funcref) (elem (i32.const 0) funcref {}))", "(ref.null func) ".repeat(5000));
        assert!(read(&active).is_ok());
        for refused in [passive(4097), passive(2048).repeat(3), format!("(component {})", passive(4097))] {
            assert!(matches!(read(&refused), Err(InvalidComponent::PassiveElements { .. })));
        }
    }

    #[test]
    fn modules_with_several_memories_are_refused() {
        let modules = |modules: &str| Description::read(&wat::parse_str(format!("(component {modules})")).unwrap());
        let one = r#"(core module (memory 1)) (core module (import "a" "b" (memory 1)))"#;
        let nested = format!("{one} (component {one}) {one}");
        assert!(modules(one).is_ok() && modules(&nested).is_ok());
        let two = [
            "(core module (memory 1) (memory 1))",
            r#"(core module (import "a" "b" (memory 1)) (memory 1))"#,
            r#"(core module (import "a" "b" (memory 1)) (import "a" "c" (memory 1)))"#,
            "(component (component (core module (memory 1) (memory 1))))",
        ];
        for two in two {
            assert!(matches!(modules(two), Err(InvalidComponent::Memories { memories: 2 })), "{two}");
        }
    }

    #[test]
    fn only_wasi_0_2_and_the_report_are_offered() {
        let imports =
            ["wasi:io/poll@0.2.6", "wasi:io/poll@0.3.0", "wasi:http/incoming-handler@0.2.4", "burla:function/report@0.1.0"];
        let description = Description { functions: vec![], imports: imports.map(str::to_owned).to_vec(), exports: vec![] };
        assert_eq!(description.imports_not_offered(), ["wasi:io/poll@0.3.0", "wasi:http/incoming-handler@0.2.4"]);
    }
}
