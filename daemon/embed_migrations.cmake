# Writes OUTPUT: a C++ file that holds the migrations FILES (sql/NNN_name.sql), in order.
# Run by cmake -P at build time.
set(text "// Generated from sql/ by embed_migrations.cmake.\n#include \"daemon/pg_migrate.hpp\"\n\n")
string(APPEND text "namespace sluice {\n\nconst std::vector<Migration>& migrations() {\n")
string(APPEND text "    static const std::vector<Migration> all = {\n")
foreach(file IN LISTS FILES)
  get_filename_component(name "${file}" NAME_WE)
  string(REGEX MATCH "[1-9][0-9]*" version "${name}")
  file(READ "${file}" sql)
  string(APPEND text "        {${version}, \"${name}\", R\"migration(${sql})migration\"},\n")
endforeach()
string(APPEND text "    };\n    return all;\n}\n\n}  // namespace sluice\n")
file(WRITE "${OUTPUT}" "${text}")
