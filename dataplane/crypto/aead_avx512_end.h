// The end of what aead_avx512.h began: code for CPUs with AVX-512. No guard, once in each file.
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
