// mesos-containerizer: an agent runs `mesos-containerizer launch` for each container, to have it set up and its command
// executed. All about the container is in variables MESOS_CONTAINERIZER_*.
//
// Mesos' own code for that is in the library, but nothing there makes the object that it works on. It is put together
// here. Its parts lie so, in this very build of Mesos:
//
//   0x000  the pointer to the virtual functions
//   0x008  the subcommand's name, a std::string
//   0x028  its general flags, a FlagsBase
//   0x0e0  the flags of `launch`, with a FlagsBase in them at 0x168
#include <cstring>
#include <fcntl.h>
#include <new>
#include <sys/stat.h>

#include "library.hpp"

#define LAUNCH "N5mesos8internal5slave24MesosContainerizerLaunch"

// The string that comes after a key in a JSON text. The keys that are asked for occur in Mesos' own texts only once,
// since a quote within a string has a backslash before it.
static std::string stringAfter(const char* key, const char* json) {
  std::string value;
  const char* at = json ? strstr(json, key) : nullptr;
  if (!at) return value;
  for (at += strlen(key); *at && *at != '"'; at++) {
    if (*at == '\\' && at[1]) at++;
    value += *at;
  }
  return value;
}

// Containers of a real agent write into files in their sandbox. The agents of a cluster in one process leave them the
// output of that process, so it is replaced here.
static void writeIntoSandbox() {
  std::string sandbox = stringAfter("\"working_directory\":\"", getenv("MESOS_CONTAINERIZER_LAUNCH_INFO"));
  struct stat about;
  if (sandbox.empty() || stat(sandbox.c_str(), &about) != 0) return;
  auto replace = [&](int output, const char* name) {
    int file = open((sandbox + name).c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0) return;
    // The task's user owns the sandbox. Only root can give files away, and nobody else has to.
    if (geteuid() == 0 && fchown(file, about.st_uid, about.st_gid) != 0) perror(name);
    dup2(file, output);
    close(file);
  };
  replace(STDOUT_FILENO, "/stdout");
  replace(STDERR_FILENO, "/stderr");
}

int main(int argc, char** argv) {
  if (argc < 2 || strcmp(argv[1], "launch") != 0) fail("the only subcommand here is launch");
  writeIntoSandbox();
  void* mesos = load();

  alignas(16) static char launch[1 << 12];
  *reinterpret_cast<char**>(launch) = find<char>(mesos, "_ZTV" LAUNCH "E") + 2 * sizeof(void*);
  new (launch + 0x08) std::string("launch");
  find<void(void*)>(mesos, "_ZN5flags9FlagsBaseC1Ev")(launch + 0x28);
  find<void(void*)>(mesos, "_Z" LAUNCH "5FlagsC1Ev")(launch + 0xe0);

  // These two tell where they look for the flags, so a library with another layout is noticed.
  char* general = find<char*(void*)>(mesos, "_ZN10Subcommand8getFlagsEv")(launch);
  char* flags = find<char*(void*)>(mesos, "_Z" LAUNCH "8getFlagsEv")(launch);
  if (general != launch + 0x28 || flags != launch + 0x168) fail("this build of Mesos has another layout");

  // It returns an object, hence the first argument. That begins with a number, which is 0 on success.
  auto read = find<void*(void*, void*, const OptionalString&, int, const char* const*, bool, bool)>(
      mesos, "_ZN5flags9FlagsBase4loadERK6OptionI" STRING "EiPKPKcbb");
  alignas(16) static char result[1 << 12];
  read(result, flags, "MESOS_CONTAINERIZER_", argc - 1, argv + 1, false, false);
  if (*reinterpret_cast<int*>(result) != 0) fail("the variables MESOS_CONTAINERIZER_* cannot be read");

  return find<int(void*)>(mesos, "_Z" LAUNCH "7executeEv")(launch);
}
