// Loads Mesos, which is a Python module's library here, and finds functions in it by their mangled names.
//
// The library lies in ../lib beside the stand-ins for what it needs (see build). These are loaded before it, so that
// the loader has them already under the names that the library asks for.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <string>
#include <unistd.h>

[[noreturn]] inline void fail(const std::string& why) {
  fprintf(stderr, "error: %s\n", why.c_str());
  exit(1);
}

inline void* load() {
  char self[4096];
  ssize_t length = readlink("/proc/self/exe", self, sizeof(self));
  if (length <= 0 || length == sizeof(self)) fail("cannot tell where this program is");
  std::string folder(self, length);
  folder.resize(folder.rfind('/'));

  void* last = nullptr;
  for (const char* name : {"libpython.so", "libcrypto.so.1.0.0", "libssl.so.1.0.0", "libcurl.so.4", "_scheduler.so"}) {
    last = dlopen((folder + "/../lib/" + name).c_str(), RTLD_LAZY | RTLD_GLOBAL);
    if (!last) fail(dlerror());
  }
  return last;
}

// A function of type F, or any other symbol if F is char.
template <typename F>
F* find(void* library, const char* name) {
  void* found = dlsym(library, name);
  if (!found) fail(dlerror());
  return reinterpret_cast<F*>(found);
}

// Has the layout of Mesos' Option<std::string>.
struct OptionalString {
  int none = 1;
  std::string value;

  OptionalString() = default;
  OptionalString(const char* text) : none(0), value(text) {}
};

#define STRING "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
