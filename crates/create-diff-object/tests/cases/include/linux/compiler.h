/* What kmod/include/ takes of the kernel's headers (Linux 6.12). */
#define __used __attribute__((__used__))
#define __PASTE_2(a, b) a##b
#define __PASTE(a, b) __PASTE_2(a, b)
#define __UNIQUE_ID(prefix) __PASTE(__PASTE(__UNIQUE_ID_, prefix), __COUNTER__)
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
