// SPDX-License-Identifier: GPL-2.0-only

//! Parameters of the module: values that `insmod` gives, and that can be read and written in
//! `/sys/module/NAME/parameters/` while it is loaded.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_uint;
use core::ffi::c_void;
use core::ffi::CStr;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::AtomicI32;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering;

/// Types of parameters: those that the kernel has conversions for and that can change at any time.
pub trait Value: Sized {
    /// Where it is kept, with the layout of a C variable.
    type Place;
    /// What an array has where nothing was given.
    const NOTHING: Self;
    /// What the kernel converts it with.
    const OPERATIONS: *const c_void;
    /// Reads it.
    fn get(place: &Self::Place) -> Self;
}

impl Value for c_int {
    type Place = AtomicI32;
    const NOTHING: Self = 0;
    const OPERATIONS: *const c_void = &raw const param_ops_int;

    #[inline]
    fn get(place: &AtomicI32) -> Self {
        place.load(Ordering::Relaxed)
    }
}

impl Value for c_uint {
    type Place = AtomicU32;
    const NOTHING: Self = 0;
    const OPERATIONS: *const c_void = &raw const param_ops_uint;

    #[inline]
    fn get(place: &AtomicU32) -> Self {
        place.load(Ordering::Relaxed)
    }
}

impl Value for bool {
    type Place = AtomicBool;
    const NOTHING: Self = false;
    const OPERATIONS: *const c_void = &raw const param_ops_bool;

    #[inline]
    fn get(place: &AtomicBool) -> Self {
        place.load(Ordering::Relaxed)
    }
}

extern "C" {
    static param_array_ops: c_void;
    static param_ops_int: c_void;
    static param_ops_uint: c_void;
    static param_ops_bool: c_void;
    static __this_module: c_void;
}

/// A parameter: a `static` that [`parameter!`](crate::parameter) makes.
#[derive(Debug)]
pub struct Parameter<T: Value>(T::Place);

impl<T: Value> Parameter<T> {
    /// One with a default.
    #[doc(hidden)]
    #[inline]
    pub const fn new(place: T::Place) -> Self {
        Self(place)
    }

    /// The present value.
    #[inline]
    pub fn get(&self) -> T {
        T::get(&self.0)
    }
}

/// A parameter of up to `N` values, which commas separate: a `static` that
/// [`parameter!`](crate::parameter) makes.
#[derive(Debug)]
pub struct ArrayParameter<T: Value, const N: usize> {
    values: [T::Place; N],
    /// The kernel's; at most `N`.
    count: AtomicU32,
}

impl<T: Value, const N: usize> ArrayParameter<T, N> {
    /// One for which nothing was given.
    #[doc(hidden)]
    #[inline]
    pub const fn new(values: [T::Place; N]) -> Self {
        Self { values, count: AtomicU32::new(0) }
    }

    /// Where the values are that were given. Their owner may change them; so may the kernel, if the file's
    /// mode lets somebody write.
    #[inline]
    pub fn values(&self) -> &[T::Place] {
        let count = self.count.load(Ordering::Relaxed) as usize;
        self.values.get(..count).unwrap_or(&[])
    }
}

/// `struct kparam_array`, whose layout the glue asserts.
#[doc(hidden)]
#[repr(C)]
#[derive(Debug)]
pub struct KernelArray {
    max: c_uint,
    element_size: c_uint,
    count: *const AtomicU32,
    operations: *const c_void,
    elements: *const c_void,
}

const _: () = assert!(size_of::<KernelArray>() == 32);

// SAFETY: Nothing of it is followed in Rust.
unsafe impl Sync for KernelArray {}

impl KernelArray {
    /// As `module_param_array` makes it.
    pub const fn new<T: Value, const N: usize>(parameter: &'static ArrayParameter<T, N>) -> Self {
        Self {
            max: N as c_uint,
            element_size: size_of::<T::Place>() as c_uint,
            count: &raw const parameter.count,
            operations: T::OPERATIONS,
            elements: (&raw const parameter.values).cast(),
        }
    }
}

/// `struct kernel_param`, whose layout the glue asserts.
#[doc(hidden)]
#[repr(C)]
#[derive(Debug)]
pub struct KernelParam {
    name: *const c_char,
    module: *const c_void,
    operations: *const c_void,
    permissions: u16,
    level: i8,
    flags: u8,
    argument: *const c_void,
}

const _: () = assert!(size_of::<KernelParam>() == 40);

// SAFETY: Nothing of it is followed in Rust.
unsafe impl Sync for KernelParam {}

impl KernelParam {
    /// As `module_param` makes it.
    pub const fn new<T: Value>(
        name: &'static CStr,
        permissions: u16,
        parameter: &'static Parameter<T>,
    ) -> Self {
        Self::of(name, permissions, T::OPERATIONS, core::ptr::from_ref(parameter).cast())
    }

    /// As `module_param_array` makes it.
    pub const fn array(name: &'static CStr, permissions: u16, array: &'static KernelArray) -> Self {
        let operations = &raw const param_array_ops;
        Self::of(name, permissions, operations, core::ptr::from_ref(array).cast())
    }

    const fn of(
        name: &'static CStr,
        permissions: u16,
        operations: *const c_void,
        argument: *const c_void,
    ) -> Self {
        Self {
            name: name.as_ptr(),
            module: &raw const __this_module,
            operations,
            permissions,
            level: -1,
            flags: 0,
            argument,
        }
    }
}

/// Makes a parameter of the module, of type `c_int`, `c_uint` or `bool`, or of several values of such a type:
///
/// ```ignore
/// parameter!(PRE_PATCH_RET: c_int = 0, c"pre_patch_ret", 0o644);
/// parameter!(PIDS: [c_int; 8], c"pids", 0);
/// ```
///
/// The last is the mode of its file, 0 for none. The name must be a C string.
#[macro_export]
macro_rules! parameter {
    ($(#[$doc:meta])* $ident:ident: [$type:ty; $max:expr], $name:literal, $mode:expr) => {
        $(#[$doc])*
        static $ident: $crate::author::parameter::ArrayParameter<$type, { $max }> =
            $crate::author::parameter::ArrayParameter::new([const {
                use $crate::author::parameter::Value;
                <$type as Value>::Place::new(<$type as Value>::NOTHING)
            }; $max]);
        const _: () = {
            use $crate::author::parameter::{KernelArray, KernelParam};

            static ARRAY: KernelArray = KernelArray::new(&$ident);
            #[export_name = concat!("kpatch_parameter_", stringify!($ident))]
            #[link_section = "__param"]
            static ENTRY: KernelParam = KernelParam::array($name, $mode, &ARRAY);
        };
    };
    ($(#[$doc:meta])* $ident:ident: $type:ty = $default:expr, $name:literal, $mode:expr) => {
        $(#[$doc])*
        static $ident: $crate::author::parameter::Parameter<$type> =
            $crate::author::parameter::Parameter::new(
                <$type as $crate::author::parameter::Value>::Place::new($default),
            );
        const _: () = {
            // Not `#[used]`, which would keep linkers from putting it with what C has there.
            #[export_name = concat!("kpatch_parameter_", stringify!($ident))]
            #[link_section = "__param"]
            static ENTRY: $crate::author::parameter::KernelParam =
                $crate::author::parameter::KernelParam::new::<$type>($name, $mode, &$ident);
        };
    };
}
