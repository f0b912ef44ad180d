// fxc.exe < LIST: compiles the HLSL files named in LIST with d3dcompiler_47.dll, as wgpu does where there is no
// dxcompiler.dll. Prints a line for each file: 'ok FILE', or 'failed FILE' and what the compiler said, up to a line '.'.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

typedef struct Blob Blob;
struct Blob {
    struct {
        void *query, *add_reference;
        ULONG(WINAPI *release)(Blob *);
        void *(WINAPI *pointer)(Blob *);
        SIZE_T(WINAPI *size)(Blob *);
    } *functions;
};
typedef HRESULT(WINAPI *Compile)(const void *, SIZE_T, const char *, const void *, void *, const char *, const char *,
                                 UINT, UINT, Blob **, Blob **);
enum { ENABLE_STRICTNESS = 1 << 11 };

int main(void) {
    HMODULE library = LoadLibraryA("d3dcompiler_47.dll");
    Compile compile = library ? (Compile)GetProcAddress(library, "D3DCompile") : NULL;
    if (!compile) {
        fprintf(stderr, "d3dcompiler_47.dll cannot be used: error %lu\n", GetLastError());
        return 2;
    }
    enum { MOST = 1 << 20 };
    char *text = malloc(MOST);
    char path[1024];
    while (fgets(path, sizeof path, stdin)) {
        path[strcspn(path, "\r\n")] = 0;
        FILE *file = fopen(path, "rb");
        if (!file) {
            fprintf(stderr, "cannot open %s\n", path);
            return 2;
        }
        size_t length = fread(text, 1, MOST - 1, file);
        text[length] = 0;
        fclose(file);
        const char *entry = strstr(text, "void main_(") ? "main_" : "main";
        Blob *code = NULL, *said = NULL;
        HRESULT result =
            compile(text, length, NULL, NULL, NULL, entry, "cs_5_1", ENABLE_STRICTNESS, 0, &code, &said);
        if (result >= 0)
            printf("ok %s\n", path);
        else
            printf("failed %s\n%s\n.\n", path, said ? (char *)said->functions->pointer(said) : "no message");
        fflush(stdout);
        if (code) code->functions->release(code);
        if (said) said->functions->release(said);
    }
    return 0;
}
