//! The form that programs read, as JSON. What is said here of a field is the schema's documentation;
//! [`SCHEMA_VERSION`] grows when a field changes its meaning or goes. New fields may come any time.

use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use serde::Deserialize;
use serde::Serialize;

use crate::notices::Notice;
use crate::outlive::Outliving;

/// The version of the schema.
pub const SCHEMA_VERSION: u32 = 1;

/// One run of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// The objects that changed, by name.
    pub objects: Vec<ObjectReport>,
    /// Why the patch cannot be built, by place; not empty if the outcome is `refused`.
    pub refusals: Vec<RefusalReport>,
    /// What the user should know and what refuses nothing, by place.
    pub notices: Vec<NoticeReport>,
    /// Why the module cannot be unloaded once it was enabled: the places of code that may still run or
    /// be called when the patch is disabled. Empty if it can.
    pub pins: Vec<NoticeReport>,
    /// What was written, the path of a module or an object; null if nothing was.
    pub output: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Something changed, and it can be patched.
    Changed,
    /// Nothing that runs is changed.
    Unchanged,
    /// It cannot be patched.
    Refused,
}

/// What changed in one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectReport {
    /// The object's name (`fs/proc/cmdline.o`).
    pub object: String,
    /// What it is linked into, `vmlinux` or a module; null if the tool was not told.
    pub patches: Option<String>,
    /// The functions that replace one of the kernel, by name.
    pub changed: Vec<Change>,
    /// The functions that the kernel does not have, by name.
    pub new: Vec<NewFunction>,
    /// Variables of the kernel whose content is another now, by name. They are refused.
    pub changed_data: Vec<Change>,
}

/// Why one function or variable counts as changed: its first difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The name in the patched object.
    pub name: String,
    /// The name in the original object: compilers number and rename clones.
    pub original_name: String,
    /// What kind of reason it is.
    pub class: Class,
    /// The reason in words.
    pub summary: String,
    /// The original around the difference; null if the difference is something that it does not have.
    pub original: Option<Excerpt>,
    /// The patched around the difference; null if the difference is something that it does not have.
    pub patched: Option<Excerpt>,
}

/// What kind of reason it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Another instruction, or another register or memory operand.
    Instruction,
    /// A call or jump to another function.
    CallTarget,
    /// Another string.
    String,
    /// Another number in an instruction, or another content of a table or constant that the compiler
    /// made.
    Constant,
    /// Another variable, or for a variable its content, size or kind of memory.
    Data,
    /// A function that was called is inlined now, or the other way round.
    CalleeInlined,
    /// Another entry in a special section (a warning, an exception table, a static key …).
    SpecialSection,
}

impl Class {
    /// The name in texts.
    pub fn name(self) -> &'static str {
        match self {
            Class::Instruction => "instruction",
            Class::CallTarget => "call target",
            Class::String => "string",
            Class::Constant => "constant",
            Class::Data => "data",
            Class::CalleeInlined => "callee inlined",
            Class::SpecialSection => "special section",
        }
    }
}

/// One side around a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// The piece that the difference is in: the function or variable, or a part that the compiler split
    /// off (`f.cold`).
    pub symbol: String,
    /// Where the difference is, in bytes from the symbol.
    pub offset: i64,
    /// Where that is in the source; null without debug information.
    pub source: Option<Source>,
    /// The instructions around it, in order; empty for data.
    pub code: Vec<InstructionReport>,
    /// For data the bytes from the difference on, at most 16, in hexadecimal; empty for code.
    pub bytes: String,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstructionReport {
    /// Where, in bytes from the symbol.
    pub offset: i64,
    /// AT&T syntax, symbols by name, strings in quotation marks.
    pub text: String,
    /// Where it is in the source; null without debug information.
    pub source: Option<Source>,
    /// Whether it is the difference.
    pub differs: bool,
}

/// A place in the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file as the compiler was given it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A function that the kernel does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFunction {
    /// Its name.
    pub name: String,
    /// Where it is declared; null without debug information.
    pub source: Option<Source>,
}

/// A reason why the patch cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalReport {
    /// `KPBnnnn`; README.md lists them.
    pub code: String,
    /// What the code means, always the same for a code.
    pub summary: String,
    /// What is wrong.
    pub message: String,
    /// What the user can do about it.
    pub hint: String,
    /// Where.
    pub place: PlaceReport,
}

impl From<&Refusal> for RefusalReport {
    fn from(refusal: &Refusal) -> Self {
        RefusalReport {
            code: refusal.code.to_string(),
            summary: refusal.code.summary().to_owned(),
            message: refusal.message.clone(),
            hint: refusal.hint.clone(),
            place: PlaceReport::from(&refusal.place),
        }
    }
}

/// A text about a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeReport {
    /// Where.
    pub place: PlaceReport,
    /// What.
    pub text: String,
}

impl From<&Notice> for NoticeReport {
    fn from(notice: &Notice) -> Self {
        NoticeReport { place: PlaceReport::from(&notice.place), text: notice.text.clone() }
    }
}

impl From<&Outliving> for NoticeReport {
    fn from(outliving: &Outliving) -> Self {
        NoticeReport { place: PlaceReport::from(&outliving.place), text: outliving.to_string() }
    }
}

/// A place; what is not known or does not apply is null.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceReport {
    /// The object file, as [`ObjectReport::object`].
    pub object: Option<String>,
    /// The symbol.
    pub symbol: Option<String>,
    /// The source file, or another file.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
}

impl From<&Place> for PlaceReport {
    fn from(place: &Place) -> Self {
        let Place { object, symbol, file, line } = place.clone();
        PlaceReport { object, symbol, file, line }
    }
}

impl Report {
    /// A report without anything in it.
    pub fn new(outcome: Outcome) -> Self {
        Report {
            schema_version: SCHEMA_VERSION,
            outcome,
            objects: Vec::new(),
            refusals: Vec::new(),
            notices: Vec::new(),
            pins: Vec::new(),
            output: None,
        }
    }

    /// As JSON, with a newline at the end. The same report gives the same text.
    pub fn to_json(&self) -> String {
        // Maps with keys that are no strings would fail, and there are none.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
