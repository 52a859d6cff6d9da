// SPDX-License-Identifier: GPL-2.0-only

//! Parameters of the module: values that `insmod` gives, and that can be read and written in
//! `/sys/module/NAME/parameters/` while it is loaded.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_void;
use core::ffi::CStr;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::AtomicI32;
use core::sync::atomic::Ordering;

/// Types of parameters: those that the kernel has conversions for and that can change at any time.
pub trait Value: Sized {
    /// Where it is kept, with the layout of a C variable.
    type Place;
    /// What the kernel calls it, for `modinfo`.
    const NAME: &'static str;
    /// What the kernel converts it with.
    const OPERATIONS: *const c_void;
    /// Reads it.
    fn get(place: &Self::Place) -> Self;
}

impl Value for c_int {
    type Place = AtomicI32;
    const NAME: &'static str = "int";
    const OPERATIONS: *const c_void = &raw const param_ops_int;

    #[inline]
    fn get(place: &AtomicI32) -> Self {
        place.load(Ordering::Relaxed)
    }
}

impl Value for bool {
    type Place = AtomicBool;
    const NAME: &'static str = "bool";
    const OPERATIONS: *const c_void = &raw const param_ops_bool;

    #[inline]
    fn get(place: &AtomicBool) -> Self {
        place.load(Ordering::Relaxed)
    }
}

extern "C" {
    static param_ops_int: c_void;
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
        Self {
            name: name.as_ptr(),
            module: &raw const __this_module,
            operations: T::OPERATIONS,
            permissions,
            level: -1,
            flags: 0,
            argument: core::ptr::from_ref(parameter).cast(),
        }
    }
}

/// Makes a parameter of the module, of type `c_int` or `bool`:
///
/// ```ignore
/// parameter!(PRE_PATCH_RET: c_int = 0, c"pre_patch_ret", 0o644);
/// ```
///
/// The last is the mode of its file, 0 for none. The name must be a C string.
#[macro_export]
macro_rules! parameter {
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
